//! The compiler of filters, from an expression to a program of tests.
//!
//! The classic short-circuit scheme: every expression is told where to go on yes and on no. It is
//! built from the end, so that targets are known when a test is written and all jumps lead
//! forwards; equal tests with equal targets are written once.

use tmap_common::filter::{ACCEPT, MAX_TESTS, REJECT, Test, field};

use super::expr::{End, Expr, Primitive};

/// Compiles the expression. An empty program stands for "everything".
///
/// # Errors
/// The number of tests needed, where that is more than [`MAX_TESTS`].
pub fn compile(expr: &Expr) -> Result<Vec<Test>, usize> {
    let mut builder = Builder::default();
    match builder.write(expr, Target::Accept, Target::Reject) {
        Target::Accept => Ok(Vec::new()),
        Target::Reject => Ok(vec![Test { on_yes: REJECT, on_no: REJECT, ..Test::ANY }]),
        Target::Step(entry) => builder.finish(entry),
    }
}

/// Whether a program accepts nothing, whatever comes.
pub fn rejects_all(tests: &[Test]) -> bool {
    tests.first().is_some_and(|first| first.on_yes == REJECT && first.on_no == REJECT)
}

/// Where a decision leads; steps are numbered from the end of the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Target {
    Accept,
    Reject,
    Step(usize),
}

#[derive(Debug, PartialEq, Eq)]
struct Step {
    /// What to test, its targets not yet filled in.
    test: Test,
    yes: Target,
    no: Target,
}

/// A program under way, last step first.
#[derive(Default)]
struct Builder {
    steps: Vec<Step>,
}

impl Builder {
    /// Writes `expr` and returns where to enter it.
    fn write(&mut self, expr: &Expr, yes: Target, no: Target) -> Target {
        match expr {
            Expr::Is(primitive) => self.write_test(primitive, yes, no),
            Expr::Not(inner) => self.write(inner, no, yes),
            Expr::And(a, b) => {
                let second = self.write(b, yes, no);
                self.write(a, second, no)
            }
            Expr::Or(a, b) => {
                let second = self.write(b, yes, no);
                self.write(a, yes, second)
            }
        }
    }

    fn write_test(&mut self, primitive: &Primitive, yes: Target, no: Target) -> Target {
        let Some(test) = test(primitive) else { return yes };
        if yes == no {
            return yes;
        }
        let step = Step { test, yes, no };
        let found = self.steps.iter().position(|known| *known == step);
        Target::Step(found.unwrap_or_else(|| {
            self.steps.push(step);
            self.steps.len() - 1
        }))
    }

    /// Drops what can't be reached from `entry`, turns the order round and fills in the targets.
    fn finish(mut self, entry: usize) -> Result<Vec<Test>, usize> {
        self.steps.truncate(entry + 1);
        let mut reached = vec![false; self.steps.len()];
        reached[entry] = true;
        for index in (0..=entry).rev() {
            for target in [self.steps[index].yes, self.steps[index].no] {
                if let Target::Step(next) = target {
                    reached[next] |= reached[index];
                }
            }
        }
        let count = reached.iter().filter(|&&reached| reached).count();
        if count > MAX_TESTS {
            return Err(count);
        }
        let place = |target| match target {
            Target::Accept => ACCEPT,
            Target::Reject => REJECT,
            // At most MAX_TESTS = 32, so it fits.
            Target::Step(step) => reached[step + 1..].iter().filter(|&&reached| reached).count() as u8,
        };
        let steps = self.steps.iter().enumerate().rev().filter(|(index, _)| reached[*index]);
        Ok(steps
            .map(|(_, step)| Test { on_yes: place(step.yes), on_no: place(step.no), ..step.test })
            .collect())
    }
}

/// The test for a primitive, without targets; `None` for what always holds.
fn test(primitive: &Primitive) -> Option<Test> {
    let blank = Test::ANY;
    match primitive {
        Primitive::Any => None,
        Primitive::Net(end, net) => Some(Test {
            field: if *end == End::Src { field::SRC_NET } else { field::DST_NET },
            net: net.net.to_be_bytes(),
            mask: net.mask.to_be_bytes(),
            ..blank
        }),
        Primitive::Port(end, ports) => Some(Test {
            field: if *end == End::Src { field::SRC_PORT } else { field::DST_PORT },
            port_low: *ports.start(),
            port_high: *ports.end(),
            ..blank
        }),
    }
}
