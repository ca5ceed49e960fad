//! What a verdict is called for a person.

use proto::registry::DeviceVerdict as Verdict;

pub(super) fn told(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Unspecified => "nothing is known",
        Verdict::Valid => "the device is who it says",
        Verdict::Unknown => "there is no such device, or it presented what is wrong",
        Verdict::Disabled => "the credential is disabled",
        Verdict::Expired => "the credential has ended",
        Verdict::NotYetValid => "the credential has not begun",
        Verdict::DeviceNotActive => "the device is not in use",
        Verdict::TooManyFailures => "too much was wrong of this device; try again in some seconds",
        Verdict::Malformed => "it is no certificate (X.509 version 3)",
    }
}
