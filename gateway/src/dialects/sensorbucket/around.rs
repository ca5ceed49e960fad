//! Devices within a distance of a point.

use chassis::{Error, Result};
use proto::muster::dialect::sensorbucket::v1::ListDevicesRequest;
use proto::registry::Location;

/// The mean radius of the earth in metres (IUGG): distances are wrong by half
/// a per cent at most.
const RADIUS: f64 = 6_371_008.8;

/// A circle on the earth.
#[derive(Debug)]
pub(super) struct Around {
    /// Degrees.
    latitude: f64,
    longitude: f64,
    /// Of the circle's radius, as seen from the middle of the earth, in radians.
    angle: f64,
}

impl Around {
    /// The circle that a list asks for, if it does.
    pub(super) fn read(wanted: &ListDevicesRequest) -> Result<Option<Self>> {
        let (latitude, longitude, metres) =
            match (wanted.latitude, wanted.longitude, wanted.distance) {
                (None, None, None) => return Ok(None),
                (Some(latitude), Some(longitude), Some(metres)) => (latitude, longitude, metres),
                _ => {
                    let text = "latitude, longitude and distance (metres) are given together";
                    return Err(Error::invalid("distance", text));
                }
            };
        for (name, is_within, text) in [
            (
                "latitude",
                latitude.abs() <= 90.0,
                "must be between -90 and 90",
            ),
            (
                "longitude",
                longitude.abs() <= 180.0,
                "must be between -180 and 180",
            ),
            (
                "distance",
                metres >= 0.0 && metres.is_finite(),
                "must be metres, and not less than 0",
            ),
        ] {
            if !is_within {
                return Err(Error::invalid(name, text));
            }
        }
        Ok(Some(Self {
            latitude,
            longitude,
            angle: metres / RADIUS,
        }))
    }

    /// A box that holds the circle, in the registry's language of filters.
    pub(super) fn clauses(&self) -> Vec<String> {
        let up_and_down = self.angle.to_degrees();
        let (south, north) = (self.latitude - up_and_down, self.latitude + up_and_down);
        let mut clauses = vec![
            format!("location.latitude >= {south}"),
            format!("location.latitude <= {north}"),
        ];
        // All longitudes meet at a pole.
        if south <= -90.0 || north >= 90.0 {
            return clauses;
        }
        let aside = (self.angle.sin() / self.latitude.to_radians().cos()).asin();
        let (west, east) = (
            self.longitude - aside.to_degrees(),
            self.longitude + aside.to_degrees(),
        );
        let (after, before) = (
            format!("location.longitude >= {}", within_a_turn(west)),
            format!("location.longitude <= {}", within_a_turn(east)),
        );
        match west < -180.0 || east > 180.0 {
            true => clauses.push(format!("({after} OR {before})")),
            false => clauses.extend([after, before]),
        }
        clauses
    }

    /// Whether a place is in the circle (by the haversine formula).
    pub(super) fn holds(&self, place: Option<&Location>) -> bool {
        let place = place.and_then(|place| place.latitude.zip(place.longitude));
        place.is_some_and(|(latitude, longitude)| {
            let half_sine = |from: f64, to: f64| ((to - from).to_radians() / 2.0).sin().powi(2);
            let cosines = self.latitude.to_radians().cos() * latitude.to_radians().cos();
            let share =
                half_sine(self.latitude, latitude) + cosines * half_sine(self.longitude, longitude);
            2.0 * share.min(1.0).sqrt().asin() <= self.angle
        })
    }
}

/// The same meridian between -180 and 180 degrees.
fn within_a_turn(degrees: f64) -> f64 {
    match degrees {
        west if west < -180.0 => west + 360.0,
        east if east > 180.0 => east - 360.0,
        degrees => degrees,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn around(latitude: f64, longitude: f64, metres: f64) -> Around {
        let wanted = ListDevicesRequest {
            latitude: Some(latitude),
            longitude: Some(longitude),
            distance: Some(metres),
            ..Default::default()
        };
        Around::read(&wanted).unwrap().unwrap()
    }

    fn place(latitude: f64, longitude: f64) -> Location {
        Location {
            latitude: Some(latitude),
            longitude: Some(longitude),
            ..Default::default()
        }
    }

    /// Whether the box holds a place, as the registry would read its clauses.
    fn box_holds(around: &Around, latitude: f64, longitude: f64) -> bool {
        let is_so = |clause: &str| {
            let parts: Vec<_> = clause.trim_matches(['(', ')']).split(' ').collect();
            let here = match parts[0] {
                "location.latitude" => latitude,
                _ => longitude,
            };
            let bound: f64 = parts[2].parse().unwrap();
            if parts[1] == ">=" {
                here >= bound
            } else {
                here <= bound
            }
        };
        let any = |clause: &String| clause.split(" OR ").any(is_so);
        around.clauses().iter().all(any)
    }

    #[test]
    fn a_degree_of_latitude_is_some_111_kilometres() {
        let around = around(50.0, 4.0, 111_300.0);
        assert!(around.holds(Some(&place(51.0, 4.0))));
        assert!(!around.holds(Some(&place(51.01, 4.0))));
        assert!(!around.holds(Some(&place(50.0, 6.0))));
        assert!(!around.holds(Some(&Location::default())) && !around.holds(None));
    }

    #[test]
    fn the_box_holds_all_of_the_circle_also_at_the_poles_and_where_the_date_changes() {
        for (latitude, longitude, metres) in [
            (51.5, 3.6, 1_000.0),
            (0.0, 180.0, 50_000.0),
            (-16.0, -179.9, 200_000.0),
            (89.9, 10.0, 50_000.0),
            (-89.0, 170.0, 5_000.0),
            (70.0, 0.0, 2_000_000.0),
            (10.0, 20.0, 30_000_000.0),
        ] {
            let around = around(latitude, longitude, metres);
            for (lat, long) in (-180..=180).flat_map(|lat| (-90..=90).map(move |long| (lat, long)))
            {
                let (lat, long) = (f64::from(lat) / 2.0, f64::from(long) * 2.0);
                let inside = around.holds(Some(&place(lat, long)));
                assert!(
                    !inside || box_holds(&around, lat, long),
                    "{around:?} {lat} {long}"
                );
            }
            assert!(around.holds(Some(&place(latitude, longitude))));
        }
    }

    #[test]
    fn a_circle_is_given_as_a_whole_and_lies_on_the_earth() {
        let field = |latitude, longitude, distance| {
            let wanted = ListDevicesRequest {
                latitude,
                longitude,
                distance,
                ..Default::default()
            };
            let refusal = tonic::Status::from(Around::read(&wanted).unwrap_err());
            refusal.message().split(':').next().unwrap().to_owned()
        };
        assert_eq!(field(Some(1.0), None, Some(1.0)), "distance");
        assert_eq!(field(Some(91.0), Some(0.0), Some(1.0)), "latitude");
        assert_eq!(field(Some(0.0), Some(f64::NAN), Some(1.0)), "longitude");
        assert_eq!(field(Some(0.0), Some(0.0), Some(-1.0)), "distance");
    }
}
