//! `in_service`, which says less of a device than its state.

use chassis::Result;
use proto::registry::Device;
use proto::registry::device::State;

use super::values::flag;

/// A device that is not told to be anything else begins in service.
pub(super) fn of(device: &Device) -> bool {
    matches!(device.state(), State::Active | State::Unspecified)
}

/// Which devices these are, in the registry's language of filters.
pub(super) fn clause(text: &str) -> Result<&'static str> {
    Ok(match flag("in_service", text)? {
        true => "state = ACTIVE",
        false => "(state = PROVISIONED OR state = DISABLED OR state = DECOMMISSIONED)",
    })
}

/// Changes the state only if it says otherwise: what was shown may be written back.
pub(super) fn put(device: &mut Device, text: &str) -> Result<()> {
    let wanted = flag("in_service", text)?;
    if wanted != of(device) {
        device.set_state(if wanted {
            State::Active
        } else {
            State::Disabled
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn in_whatever_state_a_device_is_what_was_shown_is_taken_back() {
        for (state, shown) in [
            (State::Provisioned, "no"),
            (State::Active, "yes"),
            (State::Disabled, "no"),
            (State::Decommissioned, "no"),
        ] {
            let mut device = Device::default();
            device.set_state(state);
            assert_eq!(of(&device), shown == "yes");
            put(&mut device, shown).unwrap();
            assert_eq!(device.state(), state);
        }
    }
}
