; tmap's own signatures of stacks that send TCP timestamps, in the format of p0f 3 with one
; addition: mss*44-55 is any multiple from 44 to 55, and 6-12 any scale from 6 to 12. Written from the sources named and from
; traffic, not from other databases.
;
; Labels are those of the table in stacks.rs; `g` entries stand for a family.

[tcp:request]

; Linux. Options: tcp_options_write(), net/ipv4/tcp_output.c. The id of a SYN: the socket's own,
; random (inet_id). Windows: 2.6.38 grants 10 segments (commit 356f039822b8), 3.11 twice the initial
; congestion window (85f16525a2eb), 4.20 what fits into 64 KiB (a337531b942b); before, 4 segments.
; Scales follow tcp_rmem, which follows memory.
label = s:unix:Linux:4.20 or newer
sig   = 4:64:0:*:mss*44-55,*:mss,sok,ts,nop,ws:df,id+:0
sig   = 6:64:0:*:mss*44-55,*:mss,sok,ts,nop,ws:flow:0
sig   = 6:64:0:*:mss*44-55,*:mss,sok,ts,nop,ws::0
; Jumbo frames and loopback.
sig   = 4:64:0:*:mss*7,*:mss,sok,ts,nop,ws:df,id+:0
sig   = 4:64:0:65495:*,*:mss,sok,ts,nop,ws:df,id+:0
sig   = 6:64:0:65476:*,*:mss,sok,ts,nop,ws:flow:0

label = s:unix:Linux:3.11 to 4.19
sig   = 4:64:0:*:mss*20,*:mss,sok,ts,nop,ws:df,id+:0
sig   = 6:64:0:*:mss*20,*:mss,sok,ts,nop,ws:flow:0
sig   = 6:64:0:*:mss*20,*:mss,sok,ts,nop,ws::0

label = s:unix:Linux:2.6.38 to 3.10
sig   = *:64:0:*:mss*10,*:mss,sok,ts,nop,ws:df,id+:0

label = s:unix:Linux:before 2.6.38
sig   = *:64:0:*:mss*4,*:mss,sok,ts,nop,ws:df,id+:0

; Android raises tcp_rmem: the window is all that fits, seen with scales 6 to 12. Linux 4.20 or newer offers the
; same where tcp_rmem is raised beyond 128 KiB (RAISED_BUFFERS in mod.rs). A program's SO_RCVBUF bounds the scale,
; too: 2 with 128 KiB. That is a program's choice on either system, and fits Linux as a family.
label = s:unix:Android:
sig   = 4:64:0:*:65535,6-12:mss,sok,ts,nop,ws:df,id+:0
sig   = 6:64:0:*:65535,6-12:mss,sok,ts,nop,ws:flow:0
sig   = 6:64:0:*:65535,6-12:mss,sok,ts,nop,ws::0

label = g:unix:Linux:
sig   = 4:64:0:*:*,*:mss,sok,ts,nop,ws:df,id+:0
sig   = 6:64:0:*:*,*:mss,sok,ts,nop,ws:flow:0
sig   = 6:64:0:*:*,*:mss,sok,ts,nop,ws::0

; macOS and iOS. Options: tcp_output(), bsd/netinet/tcp_output.c of xnu: Timestamps before
; SACK-permitted, the list ended and padded. Newer ones send id 0, and offer ECN now and then.
label = s:unix:macOS or iOS:
sig   = 4:64:0:*:65535,*:mss,nop,ws,nop,nop,ts,sok,eol+1:df,id+:0
sig   = 4:64:0:*:65535,*:mss,nop,ws,nop,nop,ts,sok,eol+1:df,id+,ecn:0
sig   = 4:64:0:*:65535,*:mss,nop,ws,nop,nop,ts,sok,eol+1:df:0
sig   = 4:64:0:*:65535,*:mss,nop,ws,nop,nop,ts,sok,eol+1:df,ecn:0
sig   = 6:64:0:*:65535,*:mss,nop,ws,nop,nop,ts,sok,eol+1:flow:0
sig   = 6:64:0:*:65535,*:mss,nop,ws,nop,nop,ts,sok,eol+1:flow,ecn:0
sig   = 6:64:0:*:65535,*:mss,nop,ws,nop,nop,ts,sok,eol+1::0

; FreeBSD. tcp_addoptions(), sys/netinet/tcp_output.c; ids of unfragmented packets are 0 since 11
; (RFC 6864).
label = s:unix:FreeBSD:
sig   = 4:64:0:*:65535,*:mss,nop,ws,sok,ts:df:0
sig   = 4:64:0:*:65535,*:mss,nop,ws,sok,ts:df,id+:0
sig   = 6:64:0:*:65535,*:mss,nop,ws,sok,ts:flow:0
sig   = 6:64:0:*:65535,*:mss,nop,ws,sok,ts::0

; OpenBSD. tcp_output(), sys/netinet/tcp_output.c.
label = s:unix:OpenBSD:
sig   = *:64:0:*:*,*:mss,nop,nop,sok,nop,ws,nop,nop,ts:df,id+:0

; NetBSD, as seen (2 Hz).
label = s:unix:NetBSD:
sig   = *:64:0:*:*,*:mss,nop,ws,sok,nop,nop,nop,nop,ts:df:0
sig   = *:64:0:*:*,*:mss,nop,ws,sok,nop,nop,nop,nop,ts:df,id+:0

; Windows, where timestamps were switched on.
label = s:win:Windows:Vista or newer
sig   = *:128:0:*:*,*:mss,nop,ws,sok,ts:df,id+:0
label = s:win:Windows:2000 to 2003
sig   = *:128:0:*:*,*:mss,nop,ws,nop,nop,ts,nop,nop,sok:df,id+:0
sig   = *:128:0:*:*,*:mss,nop,ws,nop,nop,ts,nop,nop,sok:df,id+,ts1-:0

; Solaris.
label = s:unix:Solaris:
sig   = *:64:0:*:*,*:sok,ts,mss,nop,ws:df,id+:0
sig   = *:64:0:*:*,*:nop,nop,ts,mss,nop,ws,nop,nop,sok:df,id+:0

[tcp:response]

; Linux answers with id 0 (ip_build_and_send_pkt()), and with the options that it was offered.
label = s:unix:Linux:4.20 or newer
sig   = 4:64:0:*:mss*44-55,*:mss,sok,ts,nop,ws:df:0
sig   = 6:64:0:*:mss*44-55,*:mss,sok,ts,nop,ws:flow:0
sig   = 6:64:0:*:mss*44-55,*:mss,sok,ts,nop,ws::0
sig   = 4:64:0:*:mss*44-55,*:mss,nop,nop,ts,nop,ws:df:0
sig   = 4:64:0:*:mss*44-55,*:mss,sok,ts:df:0
sig   = 4:64:0:65495:*,*:mss,sok,ts,nop,ws:df:0

label = s:unix:Linux:3.11 to 4.19
sig   = 4:64:0:*:mss*20,*:mss,sok,ts,nop,ws:df:0
sig   = 6:64:0:*:mss*20,*:mss,sok,ts,nop,ws:flow:0
sig   = 6:64:0:*:mss*20,*:mss,sok,ts,nop,ws::0
sig   = 4:64:0:*:mss*20,*:mss,nop,nop,ts,nop,ws:df:0
sig   = 4:64:0:*:mss*20,*:mss,sok,ts:df:0

label = s:unix:Linux:2.6.38 to 3.10
sig   = *:64:0:*:mss*10,*:mss,sok,ts,nop,ws:df:0
sig   = *:64:0:*:mss*10,*:mss,nop,nop,ts,nop,ws:df:0
sig   = *:64:0:*:mss*10,*:mss,sok,ts:df:0

label = s:unix:Linux:before 2.6.38
sig   = *:64:0:*:mss*4,*:mss,sok,ts,nop,ws:df:0
sig   = *:64:0:*:mss*4,*:mss,nop,nop,ts,nop,ws:df:0

label = g:unix:Linux:
sig   = 4:64:0:*:*,*:mss,sok,ts,nop,ws:df:0
sig   = 6:64:0:*:*,*:mss,sok,ts,nop,ws:flow:0
sig   = 6:64:0:*:*,*:mss,sok,ts,nop,ws::0
sig   = 4:64:0:*:*,*:mss,nop,nop,ts,nop,ws:df:0
sig   = 4:64:0:*:*,*:mss,sok,ts:df:0

label = s:unix:macOS or iOS:
sig   = 4:64:0:*:65535,*:mss,nop,ws,nop,nop,ts,sok,eol+1:df,id+:0
sig   = 4:64:0:*:65535,*:mss,nop,ws,nop,nop,ts,sok,eol+1:df:0
sig   = 6:64:0:*:65535,*:mss,nop,ws,nop,nop,ts,sok,eol+1:flow:0

label = s:unix:FreeBSD:
sig   = 4:64:0:*:65535,*:mss,nop,ws,sok,ts:df:0
sig   = 4:64:0:*:65535,*:mss,nop,ws,sok,ts:df,id+:0
sig   = 6:64:0:*:65535,*:mss,nop,ws,sok,ts:flow:0
sig   = 6:64:0:*:65535,*:mss,nop,ws,sok,ts::0

label = s:unix:OpenBSD:
sig   = *:64:0:*:*,*:mss,nop,nop,sok,nop,ws,nop,nop,ts:df,id+:0

label = s:unix:NetBSD:
sig   = *:64:0:*:*,*:mss,nop,ws,nop,nop,ts,sok,nop,nop:df:0

label = s:win:Windows:Vista or newer
sig   = *:128:0:*:*,*:mss,nop,ws,sok,ts:df,id+:0
sig   = *:128:0:*:*,*:mss,nop,ws,sok,ts:df:0
label = s:win:Windows:2000 to 2003
sig   = *:128:0:*:*,*:mss,nop,ws,nop,nop,ts,nop,nop,sok:df,id+:0
sig   = *:128:0:*:*,*:mss,nop,ws,nop,nop,ts,nop,nop,sok:df,id+,ts1-:0

label = s:unix:Solaris:
sig   = *:64:0:*:*,*:sok,ts,mss,nop,ws:df,id+:0
sig   = *:64:0:*:*,*:nop,nop,ts,mss,nop,ws,nop,nop,sok:df,id+:0
