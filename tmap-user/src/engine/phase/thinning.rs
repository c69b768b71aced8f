//! What is left out where the tables of all tracks would take too much memory.
//!
//! A row of a table is one trial drift of a piece. First pieces are left out, of the tracks that have most;
//! then rows, so that those that stay are further apart; and then whole tracks, which nothing is told of.

use super::piece::Piece;

/// How often the rows of a ladder may be halved. Rows are 0.01 ticks apart where there are many points, and
/// those of the first trial 0.05: further apart, tables would blur what a piece says.
const MOST_HALVINGS: usize = 2;

/// What is left of some tracks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Thinned {
    /// The rows of all of them, once they are coarser.
    pub rows: usize,
    /// From one track that is kept to the next; 1 where all are.
    pub every: usize,
    /// How often the rows of each piece are to be halved.
    halvings: usize,
}

impl Thinned {
    /// Leaves out pieces and tracks of `cut`, the pieces of each track, until all have at most `most` rows
    /// once they are coarser. One track is kept in any case.
    pub(super) fn to_fit(cut: &mut Vec<Vec<Piece>>, most: usize) -> Self {
        leave_out_pieces(cut, most);
        let halvings = (0..MOST_HALVINGS).find(|&halvings| rows_of(cut, 1, halvings) <= most);
        let halvings = halvings.unwrap_or(MOST_HALVINGS);
        let all = cut.len().max(1);
        let every = (1..all).find(|&every| rows_of(cut, every, halvings) <= most).unwrap_or(all);
        if every > 1 {
            *cut = std::mem::take(cut).into_iter().step_by(every).collect();
        }
        Self { rows: rows_of(cut, 1, halvings), every, halvings }
    }

    /// Makes the ladders of all pieces coarser, as was planned. The law of residuals is better learned
    /// before.
    pub(super) fn coarsen(&self, cut: &mut [Vec<Piece>]) {
        for piece in cut.iter_mut().flatten() {
            piece.ladder = (0..self.halvings).fold(piece.ladder, |ladder, _| ladder.halved());
        }
    }
}

/// Leaves out pieces of the tracks that have most, evenly, until all have at most `most` rows; each track
/// keeps one piece at least.
fn leave_out_pieces(cut: &mut [Vec<Piece>], most: usize) {
    let mut pieces = cut.iter().map(Vec::len).max().unwrap_or(0);
    while pieces > 1 && rows_of(cut, 1, 0) > most {
        pieces = pieces.div_ceil(2);
        for cut in cut.iter_mut().filter(|cut| cut.len() > pieces) {
            let stride = cut.len().div_ceil(pieces);
            *cut = std::mem::take(cut).into_iter().step_by(stride).collect();
        }
    }
}

/// The rows of every so many tracks, halved so many times.
fn rows_of(cut: &[Vec<Piece>], every: usize, halvings: usize) -> usize {
    let of_piece = |piece: &Piece| (0..halvings).fold(piece.ladder, |ladder, _| ladder.halved()).rows;
    cut.iter().step_by(every).flatten().map(of_piece).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{
        phase::{
            Sampled, Track,
            drift::{Ladder, Window},
            sample::NO_GAP_NS,
        },
        types::Point,
    };

    /// As many tracks as an address may have, each with so many pieces of twenty rows.
    fn tracks(pieces: usize) -> Vec<Vec<Piece>> {
        let sample = [Sampled { point: Point { time_ns: 0, ticks: 0 }, gap_ns: NO_GAP_NS }];
        let track = Track { sample: &sample, offered: 1, ..Track::default() };
        let mut piece = Piece::cut(&track, 1000.0, 0, Window { low: -0.05, high: 0.05 }).remove(0);
        piece.ladder = Ladder { low: -0.05, step: 0.1 / 19.0, rows: 20 };
        vec![vec![piece; pieces]; 4_096]
    }

    #[test]
    fn rows_stay_within_their_bound() {
        let expected =
            [(100_000, 1, 0), (81_920, 1, 0), (40_960, 1, 1), (20_480, 1, 2), (6_553, 4, 2), (9, 4_096, 2)];
        for pieces in [1, 30] {
            for (most, every, halvings) in expected {
                let mut cut = tracks(pieces);
                let thinned = Thinned::to_fit(&mut cut, most);
                thinned.coarsen(&mut cut);
                assert_eq!(
                    (thinned.every, thinned.halvings),
                    (every, halvings),
                    "{pieces} pieces, {most} rows"
                );
                let rows: usize = cut.iter().flatten().map(|piece| piece.ladder.rows).sum();
                assert_eq!((rows, cut.len()), (thinned.rows, 4_096_usize.div_ceil(every)));
                assert!(rows <= most, "{rows} of {most} rows");
            }
        }
    }

    #[test]
    fn coarser_ladders_keep_their_ends() {
        let mut cut = tracks(1);
        Thinned::to_fit(&mut cut.clone(), 6_553).coarsen(&mut cut);
        let Ladder { low, step, rows } = cut[0][0].ladder;
        assert!(rows == 5 && low == -0.05 && (low + step * 4.0 - 0.05).abs() < 1e-12, "{low} {step}");
    }
}
