//! What a benchmark found: a table, bars and notes; for people and as JSON.

use std::fmt::{self, Write as _};

use serde::Serialize;

use super::{
    picture::{self, Axes, Curve},
    rounds::{Figure, MAX_DRIFT, Series},
};

/// What a benchmark found.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The benchmark's name.
    pub name: String,
    /// What the figures of each row mean, units included.
    pub columns: Vec<String>,
    /// The table.
    pub rows: Vec<Row>,
    /// What was aimed at.
    pub bars: Vec<Bar>,
    /// How far the baseline drifted during the run, relative.
    pub drift: f64,
    /// What a reader must know besides.
    pub notes: Vec<String>,
    /// What a picture shows, where there is one, and its axes.
    #[serde(skip)]
    pub curves: Vec<Curve>,
    /// The axes of the picture.
    #[serde(skip)]
    pub axes: Option<Axes>,
}

/// One row of the table.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// What was measured.
    pub name: String,
    /// One figure per column, `None` where there is none.
    pub figures: Vec<Option<Figure>>,
}

/// Something aimed at.
#[derive(Clone, Debug, Serialize)]
pub struct Bar {
    /// What is limited.
    pub what: String,
    /// The limit.
    pub limit: Limit,
    /// What was measured.
    pub figure: Figure,
    /// Whether the limit was kept.
    pub verdict: Verdict,
}

/// A limit.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Limit {
    /// Not more than this.
    AtMost(f64),
    /// Not less than this.
    AtLeast(f64),
}

/// What became of a [`Bar`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The median keeps the limit.
    Met,
    /// It doesn't.
    Missed,
    /// The baseline drifted: run again when the machine is quiet.
    Refused,
}

impl Report {
    /// An empty report; `baseline` tells how steady the machine was.
    pub fn new(name: &str, columns: &[&str], baseline: &Series) -> Self {
        Self {
            name: name.to_owned(),
            columns: columns.iter().map(|&column| column.to_owned()).collect(),
            rows: Vec::new(),
            bars: Vec::new(),
            drift: baseline.drift(),
            notes: Vec::new(),
            curves: Vec::new(),
            axes: None,
        }
    }

    /// The picture as SVG, where there is one.
    pub fn picture(&self) -> Option<String> {
        picture::svg(self.axes.as_ref()?, &self.curves)
    }

    /// Adds a row.
    pub fn row(&mut self, name: &str, figures: &[Option<Figure>]) {
        self.rows.push(Row { name: name.to_owned(), figures: figures.to_vec() });
    }

    /// Judges a figure that was measured against the baseline.
    pub fn bar(&mut self, what: &str, limit: Limit, figure: Figure) {
        let verdict = if self.drift > MAX_DRIFT { Verdict::Refused } else { judge(limit, figure) };
        self.bars.push(Bar { what: what.to_owned(), limit, figure, verdict });
    }

    /// Judges a figure that was counted, which no drift disturbs.
    pub fn bar_counted(&mut self, what: &str, limit: Limit, value: f64) {
        let figure = Figure::exact(value);
        self.bars.push(Bar { what: what.to_owned(), limit, figure, verdict: judge(limit, figure) });
    }

    /// Adds a note.
    pub fn note(&mut self, text: impl Into<String>) {
        self.notes.push(text.into());
    }
}

fn judge(limit: Limit, figure: Figure) -> Verdict {
    let met = match limit {
        Limit::AtMost(most) => figure.median <= most,
        Limit::AtLeast(least) => figure.median >= least,
    };
    if met { Verdict::Met } else { Verdict::Missed }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let first = self.rows.iter().map(|row| row.name.chars().count()).max().unwrap_or(0);
        let first = first.max(self.name.len()) + 2;
        let mut line = format!("{:<first$}", self.name);
        for column in &self.columns {
            let _ = write!(line, "{column:>18}");
        }
        writeln!(f, "{}", line.trim_end())?;
        for row in &self.rows {
            let mut line = format!("{:<first$}", row.name);
            for figure in &row.figures {
                let text = figure.as_ref().map_or_else(|| "-".to_owned(), shown);
                let _ = write!(line, "{text:>18}");
            }
            writeln!(f, "{}", line.trim_end())?;
        }
        for bar in &self.bars {
            let limit = match bar.limit {
                Limit::AtMost(most) => format!("at most {}", number(most)),
                Limit::AtLeast(least) => format!("at least {}", number(least)),
            };
            let verdict = match bar.verdict {
                Verdict::Met => "met",
                Verdict::Missed => "MISSED",
                Verdict::Refused => "no verdict: the baseline drifted",
            };
            writeln!(f, "bar: {}, {limit}: {}: {verdict}", bar.what, shown(&bar.figure))?;
        }
        writeln!(f, "baseline drift {:.1} %", 100.0 * self.drift)?;
        for note in &self.notes {
            writeln!(f, "{note}")?;
        }
        Ok(())
    }
}

/// Median and spread.
fn shown(figure: &Figure) -> String {
    if figure.spread == 0.0 {
        return number(figure.median);
    }
    format!("{} ±{}", number(figure.median), number(figure.spread))
}

/// A number with about three digits that mean something.
fn number(value: f64) -> String {
    let magnitude = value.abs();
    if magnitude >= 100.0 || value.fract() == 0.0 {
        format!("{value:.0}")
    } else if magnitude >= 10.0 {
        format!("{value:.1}")
    } else {
        format!("{value:.2}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(values: &[f64]) -> Report {
        let baseline = Series { values: values.to_vec() };
        let mut report = Report::new("test", &["ns"], &baseline);
        report.row("one", &[Some(Figure::of(&[4.0, 5.0, 6.0]))]);
        report.bar("one", Limit::AtMost(5.0), Figure::of(&[4.0, 5.0, 6.0]));
        report.bar("two", Limit::AtLeast(5.5), Figure::of(&[4.0, 5.0, 6.0]));
        report
    }

    #[test]
    fn verdicts_follow_the_limits() {
        let verdicts: Vec<Verdict> = report(&[1.0; 4]).bars.iter().map(|bar| bar.verdict).collect();
        assert_eq!(verdicts, [Verdict::Met, Verdict::Missed]);
    }

    #[test]
    fn no_verdict_when_the_baseline_drifts() {
        let mut report = report(&[1.0, 1.0, 2.0, 2.0]);
        report.bar_counted("three", Limit::AtMost(1.0), 2.0);
        let verdicts: Vec<Verdict> = report.bars.iter().map(|bar| bar.verdict).collect();
        assert_eq!(verdicts, [Verdict::Refused, Verdict::Refused, Verdict::Missed]);
    }

    #[test]
    fn the_table_shows_medians_and_spreads() {
        let text = report(&[1.0; 4]).to_string();
        assert!(text.contains("one              5 ±0.50"), "{text}");
        assert!(text.contains("bar: two, at least 5.50: 5 ±0.50: MISSED"), "{text}");
    }
}
