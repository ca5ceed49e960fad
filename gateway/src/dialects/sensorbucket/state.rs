//! The numbers that stand for states of devices, which are fewer.

use chassis::{Error, Result};
use proto::registry::Device;
use proto::registry::device::State;

/// Unknown while a device is not in use yet, disabled also once it is for good.
pub(super) fn shown(state: State) -> i32 {
    match state {
        State::Provisioned => 0,
        State::Active | State::Unspecified => 1,
        State::Disabled | State::Decommissioned => 2,
    }
}

pub(super) fn read(number: i32) -> Result<State> {
    match number {
        0 | 1 => Ok(State::Active),
        2 => Ok(State::Disabled),
        _ => Err(Error::invalid("state", "must be 0, 1 or 2")),
    }
}

/// Changes the state only if it says otherwise: what was shown may be written
/// back. Answers whether it did.
pub(super) fn put(device: &mut Device, number: i32) -> Result<bool> {
    let wanted = read(number)?;
    let differs = number != shown(device.state());
    if differs {
        device.set_state(wanted);
    }
    Ok(differs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn in_whatever_state_a_device_is_what_was_shown_is_taken_back() {
        for (state, number) in [
            (State::Provisioned, 0),
            (State::Active, 1),
            (State::Disabled, 2),
            (State::Decommissioned, 2),
        ] {
            let mut device = Device::default();
            device.set_state(state);
            assert_eq!(shown(state), number);
            assert!(!put(&mut device, number).unwrap());
            assert_eq!(device.state(), state);
        }
    }
}
