//! The life of a device: PROVISIONED → ACTIVE ⇄ DISABLED → DECOMMISSIONED.

use chassis::{Error, Result};
use proto::registry::device::State;

use State::{Active, Decommissioned, Disabled, Provisioned, Unspecified};

/// The state of a new device.
pub(crate) fn begin(wanted: State) -> Result<State> {
    match wanted {
        Unspecified => Ok(Active),
        Decommissioned => Err(Error::invalid(
            "device.state",
            "a device does not begin with its end: create it as another one",
        )),
        state => Ok(state),
    }
}

/// The state of a device that is to have another one.
pub(crate) fn change(from: State, to: State) -> Result<State> {
    let allowed = match from {
        Provisioned => &[Active][..],
        Active => &[Disabled],
        Disabled => &[Active, Decommissioned],
        Decommissioned | Unspecified => &[],
    };
    match to {
        Unspecified => Ok(from),
        to if to == from || allowed.contains(&to) => Ok(to),
        to => {
            let allowed: Vec<_> = allowed.iter().map(State::as_str_name).collect();
            let way = match allowed.is_empty() {
                true => "it stays so".to_owned(),
                false => format!("next can be {}", allowed.join(" or ")),
            };
            let text = format!(
                "a device can't go from {} to {}; {way}",
                from.as_str_name(),
                to.as_str_name()
            );
            Err(Error::precondition("STATE_TRANSITION", text))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_goes_only_the_ways_of_its_life() {
        let states = [Provisioned, Active, Disabled, Decommissioned];
        let ways = [
            (Provisioned, Active),
            (Active, Disabled),
            (Disabled, Active),
            (Disabled, Decommissioned),
        ];
        for from in states {
            for to in states {
                let open = from == to || ways.contains(&(from, to));
                assert_eq!(change(from, to).is_ok(), open, "{from:?} {to:?}");
            }
            assert_eq!(change(from, Unspecified).unwrap(), from);
        }
        assert_eq!(begin(Unspecified).unwrap(), Active);
        assert!(begin(Decommissioned).is_err());
    }
}
