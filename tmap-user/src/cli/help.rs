//! The texts after the options on the help pages, within 80 columns.

/// How filters are written, to the end of a sentence.
macro_rules! filters {
    () => {
        "\
Filters use pcap-filter's words: src, dst; host A, net A/len, net A mask M;
port P, portrange A-B; ip, ip6, tcp, proto 6; and, or, not, parentheses. `and`
and `or` have equal rank, from left to right. "
    };
}

/// How the report is read; by what clock ticks are measured ends a sentence.
macro_rules! reading {
    ($clock:literal) => {
        concat!(
            "\
How to read the report:
  Machines   3 (2-5): best count and 90 % interval; 2-26: at least 2 and at most
             26, with no best count; 2+: at least 2; ?: nothing known
  Offsets    what a system adds to its clock's count: fixed per machine, by pair
             of addresses, or random per connection. tmap counts machines by
             offset or, where it is random, by phase (the position within a
             tick) and skew
  clock      nominal tick rate, and the deviation from it in ppm (skew) by ",
            $clock,
            "
  up since   when the clock's count was zero, on most systems the boot; perhaps
             earlier by a multiple of the time in brackets, in which it wraps
  (30 %)     share of the connections of the address, or probability
± is one standard error. Where little is known, a line says what would help.
The average uptime (-v) is the mean over machines with a boot time.
"
        )
    };
}

/// After the list of commands.
pub(super) const EXAMPLES: &str = "\
Examples:
  sudo tmap -i eth0               watch eth0; ^C ends with a summary
  tmap read capture.pcap.gz       read a capture, compressed or not
  tmap report a.pcap -o a.html    one page with pictures, to look at or hand in
  sudo tmap rtt -i eth0 --egress  measure round-trip times
  sudo tmap top -i eth0           a screen of addresses, machines and pictures
  tmap plot phases a.pcap -o a.svg  draw the machines' clocks

`tmap COMMAND --help` explains a command, its filters and its report, and
`tmap COMMAND --help-all` its options for experts, too. Watching an interface
needs root, or CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON.

Exit code: 0 success; 1 failed, or finished with a warning (such as a truncated
capture); 2 a mistake on the command line.";

/// After the options of `live`.
pub(super) const LIVE: &str = concat!(
    "\
Examples:
  sudo tmap -i eth0
  sudo tmap -i lan,wan src net 10.0.0.0/8
  sudo tmap -i eth0 --stats 60s --json >> tmap.jsonl
  ssh router tcpdump -w - tcp | tmap read -      where tmap is not installed

The signal SIGUSR1 prints a summary at once.

",
    filters!(),
    "Quote parentheses from the shell.\n\n",
    reading!("this\n             sensor's clock"),
    "\nLimits and tolerances for experts: tmap live --help-all"
);

/// After the options of `read`.
pub(super) const READ: &str = concat!(
    "\
Examples:
  tmap read capture.pcap.gz
  tmap read -v --filter 'src net 10.0.0.0/8' monday.pcap tuesday.pcap
  tmap read --connection 198.51.100.1:53042 --from 03:00 --to 03:30 a.pcap
  tmap read --min-machines 2 --sort connections --top 20 a.pcap
  tmap read --plot phases.svg a.pcapng
  ssh router tcpdump -w - tcp | tmap read -

Several captures are read as one, in the order of their packets' times.

",
    filters!(),
    "Quote the filter from the shell.\n\n",
    reading!("the\n             clock of the capture"),
    "\nLimits and tolerances for experts: tmap read --help-all"
);

/// After the options of `report`.
pub(super) const REPORT: &str = concat!(
    "\
Examples:
  tmap report capture.pcap.gz -o report.html
  tmap report --filter 'src net 10.0.0.0/8' mon.pcap tue.pcap -o week.html
  sudo tmap report -i eth0 --duration 60s -o eth0.html

The page is one file and loads nothing else: open it in a browser, print it, or
send it. It shows who stands behind each address, why tmap thinks so, and what
limits the answer, with pictures of the clocks. An old page stays until the new
one is complete; kill -USR1 writes a page at once while an interface is watched.

",
    filters!(),
    "Quote the filter from the shell.\n\nLimits and tolerances for experts: tmap report --help-all"
);

/// After the options of `rtt`.
pub(super) const RTT: &str = "\
Examples:
  sudo tmap rtt -i eth0 --egress                 on a host
  sudo tmap rtt -i lan,wan --every 10s -s        on a router
  tmap rtt capture.pcap.gz

A round trip is the time from the first data segment (or SYN or FIN) with a
TSval to the first segment that echoes it: from this sensor to the host that
answers, and back, with the time until that host sends its next segment. If the
sensor is in the middle of a path, add the round trips to both sides. tmap must
see both directions. On a host, add --egress. On a router, watch both interfaces
(-i lan,wan), or one with --egress. With NAT, one with --egress is best: on two
interfaces each direction has other addresses, and tmap can join only
connections that open while it watches. A filter with src or dst hides one
direction.

`host` is the time until the answering host gets its own TSval back: the round
trip that its TCP measures, where the echo acknowledges new data. Usually it is
longer: it includes the other half of the path, the peer's application and
delayed acknowledgements. It is shorter where only the answer was delayed on its
way to the sensor, and it is exact to a tick only. It is in ticks until the
host's tick rate is known. A summary finds it out (live: SIGUSR1).

Jitter is the mean difference between one round trip of a connection and the
next. The summary lists implausible timestamps (TSvals that step back or leap,
echoes of values never sent), each with the probable cause.

Limits and tolerances for experts: tmap rtt --help-all";

/// After the options of `plot`.
pub(super) const PLOT: &str = concat!(
    "\
Examples:
  tmap plot phases capture.pcap.gz -o clocks.svg
  tmap plot ports --address 198.51.100.1 monday.pcap -o ports.png
  tmap plot rtt --filter 'net 192.0.2.0/24' --from 03:00 a.pcap > rtt.svg

There is one chart for each address (phases: for each address and tick rate),
those with most to show first, and at most 8 in a picture. Each machine has its
number's colour, the same in every picture. Grey is no machine's.

  offsets   the counter of each connection: where offsets are fixed, each
            machine is a line, and all lines are parallel
  phases    the position within a tick: each machine is a line, also where
            offsets are random
  ports     the source ports of client connections
  rtt       how often round trips took how long
  load      each machine's share of the connections, over time
  timeline  when each machine was seen first and last

",
    filters!(),
    "Quote the filter from the shell.\n\n",
    "Limits and tolerances for experts: tmap plot --help-all"
);

/// After the options of `top`.
pub(super) const TOP: &str = concat!(
    "\
Examples:
  sudo tmap top -i eth0
  sudo tmap top -i lan,wan src net 10.0.0.0/8
  tmap top capture.pcap.gz
  tmap top --speed 10 monday.pcap tuesday.pcap
  ssh -t router sudo tmap top -i br0

The screen lists the source addresses with their machines. Enter opens one: its
machines, pictures of their clocks, and why this count and no other. Tab leads
to events (new machines, reboots, clocks that moved, losses) and to the health
of the sensor. ? lists all keys; q ends, and prints the summary that `tmap live`
or `tmap read` prints.

Figures are renewed twice a second. Snapshots of all addresses come each second
or, where many connections make them dear, more rarely: they take about two
percent of a core. r takes one at once. NO_COLOR turns colours off.

",
    filters!(),
    "With FILEs, give the\nfilter by --filter.\n\n",
    "Limits and tolerances for experts: tmap top --help-all"
);
