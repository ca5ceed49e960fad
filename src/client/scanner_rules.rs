//! Rules by which scanners for leaked secrets find API keys.

use clap::ValueEnum;
use key_management::key_format;

/// Whose rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Scanner {
    /// A rule for .gitleaks.toml
    Gitleaks,
    /// A custom detector for TruffleHog's --config
    Trufflehog,
    /// The fields of a custom pattern of GitHub's secret scanning
    Github,
}

impl Scanner {
    /// The rules for keys that begin with a prefix.
    pub(crate) fn rules(self, prefix: &str) -> String {
        let pattern = key_format::pattern(prefix);
        match self {
            Self::Gitleaks => gitleaks(prefix, &pattern),
            Self::Trufflehog => trufflehog(prefix, &pattern),
            Self::Github => github(prefix, &pattern),
        }
    }
}

fn gitleaks(prefix: &str, pattern: &str) -> String {
    format!(
        "[[rules]]\n\
         id = \"{prefix}-api-key\"\n\
         description = \"API key of Muster: whoever has it can end it with muster key surrender\"\n\
         regex = '''\\b({pattern})\\b'''\n\
         keywords = [\"{prefix}_\"]"
    )
}

fn trufflehog(prefix: &str, pattern: &str) -> String {
    format!(
        "detectors:\n  \
         - name: {prefix}-api-key\n    \
         keywords:\n      \
         - {prefix}_\n    \
         regex:\n      \
         key: '\\b({pattern})\\b'"
    )
}

fn github(prefix: &str, pattern: &str) -> String {
    let example = key_format::example(prefix);
    format!(
        "Pattern name:   {prefix} API key\n\
         Secret format:  {pattern}\n\
         Before secret:  \\A|[^0-9A-Za-z_]\n\
         After secret:   \\z|[^0-9A-Za-z_]\n\
         Test string:    {example}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_scanner_is_told_the_prefix_and_the_pattern() {
        for scanner in Scanner::value_variants() {
            let rules = scanner.rules("acme");
            assert!(rules.contains(&key_format::pattern("acme")), "{rules}");
        }
    }

    #[test]
    fn the_test_string_is_a_key() {
        let rules = Scanner::Github.rules("acme");
        let example = rules.lines().last().unwrap().rsplit(' ').next().unwrap();
        assert_eq!(key_format::parse(example).unwrap().prefix, "acme");
    }
}
