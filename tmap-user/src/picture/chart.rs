//! A chart as plain data: words, axes and marks. It knows nothing of pixels, characters or colours.

/// Something to look at.
#[derive(Clone, Debug, PartialEq)]
pub struct Chart {
    /// What it shows, in a line.
    pub title: String,
    /// What limits it, or how much of the data it shows; empty where there is nothing to say.
    pub subtitle: String,
    /// From left to right.
    pub x: Axis,
    /// From bottom to top.
    pub y: Axis,
    /// What is drawn, in this order: later series lie on top. The legend has the same order.
    pub series: Vec<Series>,
}

/// An axis.
#[derive(Clone, Debug, PartialEq)]
pub struct Axis {
    /// What it measures, with its unit.
    pub label: String,
    /// The value at its beginning.
    pub from: f64,
    /// The value at its end, above `from`.
    pub to: f64,
    /// Where it has a mark, and what that says; in order.
    pub ticks: Vec<(f64, String)>,
}

/// Marks that belong together: those of one machine, as a rule.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    /// Its name in the legend.
    pub name: String,
    /// Whose marks these are, which decides their colour.
    pub owner: Owner,
    /// Its marks.
    pub marks: Vec<Mark>,
}

/// Whose marks a series has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Owner {
    /// A machine, by its number within its address.
    Machine(u32),
    /// Connections that are no machine's.
    Nobody,
    /// The whole address.
    All,
}

/// One mark, in units of the axes.
#[derive(Clone, Debug, PartialEq)]
pub enum Mark {
    /// A connection, as a point.
    Point {
        /// Where it is.
        at: (f64, f64),
        /// How sure its place and owner are, 0 (not at all) to 1: paler and smaller the less.
        weight: f64,
        /// What it is, in words: shown where one points at it.
        text: String,
    },
    /// A straight piece of a line.
    Line {
        /// Its beginning.
        from: (f64, f64),
        /// Its end.
        to: (f64, f64),
    },
    /// A bar or an area between two values of `y`.
    Bar {
        /// Its beginning and its end on the `x` axis.
        x: (f64, f64),
        /// Its lower and its upper edge.
        y: (f64, f64),
        /// What it is, in words; empty where the axes say it.
        text: String,
    },
    /// Something that happened: a line from bottom to top.
    Event {
        /// When, on the `x` axis.
        x: f64,
        /// What, in words.
        text: String,
    },
}
