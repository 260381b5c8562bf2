//! The `openidconnect` crate as relying party: a client that we did not write.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "helpers of tests fail the test")]

mod support;

use identity::seed::REDIRECT_URI;
use keyrealm_http::client::HttpsClient;
use keyrealm_testkit::{On, on_each_database};
use openidconnect::core::{CoreAuthenticationFlow, CoreClient, CoreProviderMetadata};
use openidconnect::{
    AuthorizationCode, ClientId, ClientSecret, CsrfToken, HttpRequest, HttpResponse, IssuerUrl, Nonce,
    OAuth2TokenResponse, PkceCodeChallenge, RedirectUrl, Scope, TokenResponse,
};
use support::{Realm, WEB, query};

/// Our client behind the crate's interface: the trust stays ours.
async fn send(client: HttpsClient, request: HttpRequest) -> Result<HttpResponse, keyrealm_http::client::ClientError> {
    let (parts, body) = request.into_parts();
    let headers: Vec<_> = parts.headers.iter().map(|(name, value)| (name.clone(), value.to_str().unwrap())).collect();
    let url = parts.uri.to_string().parse().unwrap();
    let answer = client.send(parts.method, &url, &headers, body.into()).await?;
    let mut response = HttpResponse::new(answer.body.to_vec());
    *response.status_mut() = answer.status;
    *response.headers_mut() = answer.headers;
    Ok(response)
}

async fn openidconnect_logs_in_verifies_and_refreshes(on: On) {
    let realm = Realm::start(on).await;
    let http = |request: HttpRequest| send(realm.client.clone(), request);
    let issuer = IssuerUrl::new(realm.issuer.as_str().trim_end_matches('/').to_owned()).unwrap();
    let metadata = CoreProviderMetadata::discover_async(issuer, &http).await.unwrap();
    let secret = ClientSecret::new(realm.credentials.secret(WEB).to_owned());
    let client = CoreClient::from_provider_metadata(metadata, ClientId::new(WEB.to_owned()), Some(secret))
        .set_redirect_uri(RedirectUrl::new(REDIRECT_URI.to_owned()).unwrap());
    let (challenge, verifier) = PkceCodeChallenge::new_random_sha256();
    let (url, state, nonce) = client
        .authorize_url(CoreAuthenticationFlow::AuthorizationCode, CsrfToken::new_random, Nonce::new_random)
        .add_scope(Scope::new("profile".to_owned()))
        .set_pkce_challenge(challenge)
        .url();
    let back = realm.browser().walk(&url, "demo-admin").await;
    assert_eq!(query(&back, "state").as_ref(), Some(state.secret()));
    let code = AuthorizationCode::new(query(&back, "code").unwrap());
    let tokens = client.exchange_code(code).unwrap().set_pkce_verifier(verifier).request_async(&http).await.unwrap();
    let id_token = tokens.id_token().unwrap();
    let claims = id_token.claims(&client.id_token_verifier(), &nonce).unwrap();
    assert_eq!(claims.subject().as_str().len(), 36);
    let refreshed =
        client.exchange_refresh_token(tokens.refresh_token().unwrap()).unwrap().request_async(&http).await.unwrap();
    assert_ne!(refreshed.access_token().secret(), tokens.access_token().secret());
}

on_each_database!(openidconnect_logs_in_verifies_and_refreshes,);
