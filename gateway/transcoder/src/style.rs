//! `transcoder.v1`: how a service speaks JSON and what a method does
//! differently over HTTP.

/// `transcoder.v1.ServiceStyle`.
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub(crate) struct Style {
    #[prost(bool, tag = "1")]
    pub(crate) proto_field_names: bool,
    #[prost(bool, tag = "2")]
    pub(crate) int64_as_numbers: bool,
    #[prost(bool, tag = "3")]
    pub(crate) print_defaults: bool,
    #[prost(bool, tag = "4")]
    pub(crate) print_nulls: bool,
    #[prost(bool, tag = "5")]
    pub(crate) enums_as_numbers: bool,
    #[prost(bool, tag = "6")]
    pub(crate) case_insensitive_enums: bool,
    #[prost(bool, tag = "7")]
    pub(crate) ignore_unknown: bool,
    #[prost(enumeration = "UntypedBody", tag = "8")]
    pub(crate) untyped_body: i32,
}

impl Style {
    /// Whether a body without a Content-Type is a form.
    pub(crate) fn untyped_is_form(&self) -> bool {
        self.untyped_body == UntypedBody::Form as i32
    }
}

/// `transcoder.v1.UntypedBody`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub(crate) enum UntypedBody {
    Unspecified = 0,
    Form = 1,
}

/// `transcoder.v1.MethodStyle`.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct MethodStyle {
    #[prost(int32, tag = "1")]
    pub(crate) success_status: i32,
    #[prost(string, tag = "2")]
    pub(crate) text_body: String,
    #[prost(string, tag = "3")]
    pub(crate) csv_columns: String,
    #[prost(string, tag = "4")]
    pub(crate) event_id: String,
}
