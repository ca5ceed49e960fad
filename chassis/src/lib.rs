//! What a service may not do by itself: caller, authorization, store, errors, server
