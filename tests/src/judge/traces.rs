//! First arrivals of each connection, unwrapped: what an oracle looks at.

use std::collections::HashMap;

use tmap::engine::envelope::Point;
use tmap_common::Record;

use crate::simulate::ConnectionKey;

/// One connection's first arrivals.
#[derive(Clone, Debug)]
pub struct Trace {
    /// Which connection.
    pub key: ConnectionKey,
    /// First arrival of each TSval.
    pub points: Vec<Point>,
}

/// Collects the connections of `records`, all of one source. SYN-ACKs and zero TSvals have no clock.
pub fn collect<'a>(records: impl IntoIterator<Item = &'a Record>) -> Vec<Trace> {
    let mut places: HashMap<ConnectionKey, usize> = HashMap::new();
    let mut traces: Vec<Trace> = Vec::new();
    for record in records {
        let segment = &record.segment;
        if segment.flags.is_syn_ack() || segment.tsval == 0 {
            continue;
        }
        let key = (segment.src_port, segment.dst, segment.dst_port);
        let place = *places.entry(key).or_insert_with(|| {
            traces.push(Trace { key, points: Vec::new() });
            traces.len() - 1
        });
        let points = &mut traces[place].points;
        let ticks = match points.last() {
            None => i64::from(segment.tsval),
            Some(last) => {
                let ahead = segment.tsval.wrapping_sub(last.ticks as u32).cast_signed();
                if ahead <= 0 {
                    continue;
                }
                last.ticks + i64::from(ahead)
            }
        };
        points.push(Point { time_ns: record.time_ns, ticks });
    }
    traces
}
