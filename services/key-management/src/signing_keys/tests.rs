use super::*;

fn moment(minutes: i64) -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + TimeDelta::minutes(minutes)
}

fn key(number: i64, create: i64, activate: i64) -> Model {
    Model {
        number,
        kid: number.to_string(),
        algorithm: "ES256".to_owned(),
        wrapped: vec![1],
        create_time: moment(create),
        jwk: None,
        activate_time: Some(moment(activate)),
        revoke_time: None,
    }
}

fn numbers<'a>(keys: impl Iterator<Item = &'a Model>) -> Vec<i64> {
    keys.map(|key| key.number).collect()
}

#[test]
fn a_key_signs_until_the_next_one_does() {
    let keys = [key(1, 0, 0), key(2, 90, 100)];
    let at = |minutes| signing(&keys, moment(minutes)).map(|key| key.number);
    assert_eq!(at(0), Some(1));
    assert_eq!(at(99), Some(1));
    assert_eq!(at(100), Some(2));
    assert_eq!(at(10_000), Some(2));
    let of = |minutes| {
        let state = |key: &Model| state(&keys, key, moment(minutes));
        (state(&keys[0]), state(&keys[1]))
    };
    assert_eq!(of(95), (State::Signing, State::Pending));
    assert_eq!(of(100), (State::Retired, State::Signing));
    assert_eq!(of(166), (State::Expired, State::Signing));
}

#[test]
fn a_key_is_published_before_it_signs_and_while_its_tokens_may_live() {
    let keys = [key(1, 0, 0), key(2, 90, 100)];
    let at = |minutes| numbers(published(&keys, moment(minutes)));
    assert_eq!(at(90), [1, 2], "before it signs");
    assert_eq!(
        at(161),
        [1, 2],
        "the last token of the first has just expired"
    );
    assert_eq!(at(166), [2]);
    assert_eq!(numbers(spent(&keys, moment(165))), [0; 0]);
    assert_eq!(numbers(spent(&keys, moment(166))), [1]);
}

#[test]
fn a_revoked_key_neither_signs_nor_is_published() {
    let mut keys = [key(1, 0, 0), key(2, 50, 50)];
    keys[1].revoke_time = Some(moment(60));
    assert_eq!(numbers(published(&keys, moment(60))), [1]);
    assert_eq!(signing(&keys, moment(60)).map(|key| key.number), Some(1));
    assert_eq!(numbers(spent(&keys, moment(60))), [2]);
    keys[0].wrapped.clear();
    assert!(signing(&keys, moment(60)).is_none(), "it can't any more");
}

#[test]
fn the_next_key_is_made_in_time_to_be_known() {
    let life = TimeDelta::minutes(100);
    let first = [key(1, 0, 0)];
    assert_eq!(due(&first, moment(89), life), None);
    assert_eq!(due(&first, moment(90), life), Some(moment(100)));
    let late = due(&first, moment(1000), life);
    assert_eq!(late, Some(moment(1010)), "nobody ran for long");
    let both = [key(1, 0, 0), key(2, 90, 100)];
    assert_eq!(due(&both, moment(95), life), None, "it is there");
    assert_eq!(due(&both, moment(189), life), None);
    assert_eq!(due(&both, moment(190), life), Some(moment(200)));
    assert_eq!(due(&first, moment(100_000), TimeDelta::zero()), None);
    assert_eq!(due(&[], moment(5), TimeDelta::zero()), Some(moment(5)));
    assert_eq!(next_number(&both), 3);
}

#[test]
fn each_algorithm_signs_what_its_public_key_verifies() {
    for algorithm in Algorithm::ALL {
        let made = Pair::generate(algorithm).unwrap();
        let read = Pair::read(algorithm, &made.private().unwrap()).unwrap();
        assert_eq!(read.public(), made.public());
        let signature = BASE64_URL_SAFE_NO_PAD.encode(read.sign(b"message").unwrap());
        let member = |name: &str| read.public()[name].as_str().unwrap_or_default().to_owned();
        let (key, alg) = match algorithm {
            Algorithm::Es256 => (
                jsonwebtoken::DecodingKey::from_ec_components(&member("x"), &member("y")),
                jsonwebtoken::Algorithm::ES256,
            ),
            Algorithm::EdDsa => (
                jsonwebtoken::DecodingKey::from_ed_components(&member("x")),
                jsonwebtoken::Algorithm::EdDSA,
            ),
            Algorithm::Rs256 => (
                jsonwebtoken::DecodingKey::from_rsa_components(&member("n"), &member("e")),
                jsonwebtoken::Algorithm::RS256,
            ),
        };
        let verify = jsonwebtoken::crypto::verify;
        let key = key.unwrap();
        assert!(
            verify(&signature, b"message", &key, alg).unwrap(),
            "{algorithm}"
        );
        assert!(
            !verify(&signature, b"massage", &key, alg).unwrap(),
            "{algorithm}"
        );
        assert_eq!(algorithm.as_str().parse(), Ok(algorithm));
    }
}
