//! A component with plain typed exports: records, variants, options, results, lists, flags, enums.

wit_bindgen::generate!({ path: "wit/typed.wit", world: "typed" });

use exports::tests::typed::shapes::{Drawn, Guest as Shapes, Shape, Style, Unit};

struct Typed;

impl Guest for Typed {
    fn greet(name: String) -> String {
        format!("hello, {name}")
    }
}

impl Shapes for Typed {
    fn area(shape: Shape, unit: Unit) -> f64 {
        let square_metres = match shape {
            Shape::Disc(radius) => std::f64::consts::PI * radius * radius,
            Shape::Polygon(points) => {
                let next = points.iter().cycle().skip(1);
                let twice: f64 = points.iter().zip(next).map(|(a, b)| a.x * b.y - b.x * a.y).sum();
                twice.abs() / 2.0
            }
            Shape::Nothing => 0.0,
        };
        match unit {
            Unit::Metre => square_metres,
            Unit::NauticalMile => square_metres / (1852.0 * 1852.0),
        }
    }

    fn divide(dividend: i32, divisor: i32) -> Result<i32, String> {
        dividend
            .checked_div(divisor)
            .ok_or_else(|| format!("{dividend} cannot be divided by {divisor}"))
    }

    fn draw(shape: Shape, style: Style, unit: Option<Unit>) -> Drawn {
        let text = match shape {
            Shape::Disc(radius) => format!("disc of {radius}"),
            Shape::Polygon(points) => {
                let labels: Vec<_> = points.into_iter().filter_map(|point| point.label).collect();
                format!("polygon {}", labels.join("-"))
            }
            Shape::Nothing => "nothing".to_owned(),
        };
        Drawn { text, styles: style, unit: unit.unwrap_or(Unit::Metre) }
    }

    fn mix(
        bytes: Vec<u8>,
        big: u64,
        letter: char,
        yes: bool,
        small: i8,
        pair: (u16, f32),
    ) -> (Vec<u8>, u64, String, bool, i8, f32) {
        (
            bytes.into_iter().rev().collect(),
            big,
            letter.to_string(),
            !yes,
            small,
            f32::from(pair.0) + pair.1,
        )
    }

    fn check(fine: bool) -> Result<(), ()> {
        assert!(fine, "it was not fine");
        Ok(())
    }
}

export!(Typed);
