//! Drifts: how fast lines may move over the phase circle, and which drifts are tried.

/// The drifts that lines may have, in ticks per second.
#[derive(Clone, Copy, Debug)]
pub(super) struct Window {
    /// Smallest.
    pub low: f64,
    /// Largest.
    pub high: f64,
}

impl Window {
    /// The window of this width about its middle.
    pub(super) fn around(middle: f64, width: f64) -> Self {
        Self { low: middle - width / 2.0, high: middle + width / 2.0 }
    }

    /// Halfway from the smallest to the largest.
    pub(super) fn middle(&self) -> f64 {
        (self.low + self.high) / 2.0
    }

    /// Largest minus smallest.
    pub(super) fn width(&self) -> f64 {
        self.high - self.low
    }
}

/// Evenly spaced trial drifts.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ladder {
    /// The first, in ticks per second.
    pub low: f64,
    /// From one to the next.
    pub step: f64,
    /// How many.
    pub rows: usize,
}

/// The step between coarse trial drifts, as the move of residuals in ticks (root mean square).
const COARSE_TICKS: f64 = 0.05;

/// The most coarse drifts tried, which bounds a piece's length.
const MAX_COARSE: usize = 32;

/// The longest piece whose coarse ladder fits in [`MAX_COARSE`], in seconds: residuals of evenly spread
/// points have a root mean square of span / sqrt(12).
pub(super) fn longest_piece_s(window: Window) -> f64 {
    (MAX_COARSE - 1) as f64 * COARSE_TICKS * 12_f64.sqrt() / window.width()
}

impl Ladder {
    /// Trial drifts over the whole window, spaced for a piece of this spread.
    pub(super) fn coarse(spread_s: f64, window: Window) -> Self {
        let rows = ((window.width() * spread_s / COARSE_TICKS).ceil() as usize + 1).min(MAX_COARSE);
        if rows < 2 {
            return Self { low: window.middle(), step: 0.0, rows: 1 };
        }
        Self { low: window.low, step: window.width() / (rows - 1) as f64, rows }
    }

    /// Every second drift, where there are several: enough where drifts are averaged over.
    pub(super) fn every_second(self) -> Self {
        if self.rows < 4 {
            return self;
        }
        Self { step: 2.0 * self.step, rows: self.rows.div_ceil(2), ..self }
    }

    /// Half as many drifts from the first to the last, where there are several.
    pub(super) fn halved(self) -> Self {
        if self.rows < 4 {
            return self;
        }
        let rows = self.rows.div_ceil(2);
        Self { step: self.step * (self.rows - 1) as f64 / (rows - 1) as f64, rows, ..self }
    }

    /// The trial drifts.
    pub(super) fn drifts(self) -> impl Iterator<Item = f32> {
        (0..self.rows).map(move |r| (self.low + self.step * r as f64) as f32)
    }
}
