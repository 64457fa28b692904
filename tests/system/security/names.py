"""What has been tried on other gateways and SDKs: names, headers and texts."""

# fmt: off
PARAMETERS = (
    "api_base", "base_url", "api_key", "api_version", "api_type", "organization", "endpoint",
    "url", "host", "hostname", "port", "scheme", "path", "proxy", "proxies", "http_proxy",
    "https_proxy", "custom_llm_provider", "custom_host", "provider", "litellm_params",
    "litellm_metadata", "deployment_id", "azure_endpoint", "azure_ad_token", "aws_region_name",
    "aws_access_key_id", "aws_secret_access_key", "aws_bedrock_runtime_endpoint",
    "vertex_project", "vertex_location", "vertex_credentials", "extra_headers", "extra_query",
    "extra_body", "default_headers", "headers", "query", "timeout", "user_config", "fallbacks",
    "context_window_fallbacks", "model_list", "mock_response", "target", "targets", "upstream",
    "upstream_url", "redirect", "callback_url", "webhook", "webhook_url", "no_proxy", "ssl_verify",
    "client", "transport", "x-portkey-config", "config", "gateway", "authorization",
    "Authorization",
)
"""
Fields by which a client chooses address, credential, provider or proxy elsewhere: mostly by design,
sometimes until somebody found out.
"""
HEADERS = (
    "x-portkey-custom-host", "x-portkey-provider", "x-portkey-api-key", "x-portkey-config",
    "x-portkey-virtual-key", "x-portkey-forward-headers", "x-portkey-request-timeout",
    "helicone-target-url", "helicone-auth", "helicone-openai-api-base", "helicone-fallbacks",
    "x-litellm-api-base", "x-litellm-api-key", "x-litellm-model", "x-litellm-tags",
    "x-litellm-timeout", "cf-aig-authorization", "cf-aig-custom-host", "cf-connecting-ip",
    "x-bf-vk", "x-bf-api-key", "x-target-url", "x-target-host", "x-upstream", "x-upstream-url",
    "x-base-url", "x-api-base", "x-proxy-url", "x-provider", "x-custom-host", "x-model-provider",
    "x-original-url", "x-original-host", "x-rewrite-url", "x-host", "x-http-host-override",
    "x-http-method-override", "x-forwarded-host", "x-forwarded-for", "x-forwarded-proto",
    "x-forwarded-port", "x-forwarded-server", "x-forwarded-prefix", "x-real-ip", "forwarded",
    "true-client-ip", "via", "proxy", "proxy-authorization", "proxy-connection", "destination",
    "location", "referer", "origin", "openai-organization", "openai-project", "openai-beta",
    "x-hf-bill-to", "x-goog-api-key", "anthropic-version", "x-lockgate-target",
    "x-lockgate-provider", "x-lockgate-upstream", "cookie", "te", "trailer", "upgrade-insecure",
    "keep-alive", "accept", "accept-language", "user-agent", "x-stainless-lang", "range",
    "if-none-match", "expect-ct", "early-data", "priority", "baggage", "b3", "x-b3-traceid",
)
# fmt: on
"""Headers that do so, or that proxies and servers act upon."""
NOT_FOR_CLIENTS = {
    "set-cookie": "session=1; Path=/",
    "server": "uvicorn",
    "alt-svc": 'h3=":443"',
    "via": "1.1 upstream",
    "x-powered-by": "vllm",
    "connection": "x-nominated, keep-alive",
    "x-nominated": "1",
    "keep-alive": "timeout=5",
    "proxy-authenticate": "Basic",
    "www-authenticate": "Bearer",
    "trailer": "x-late",
    "upgrade": "h2c",
    "location": "http://127.0.0.1:9/",
    "refresh": "0; url=http://127.0.0.1:9/",
    "access-control-allow-origin": "*",
    "strict-transport-security": "max-age=1",
    "content-disposition": "attachment",
    "content-security-policy": "default-src *",
    "x-ratelimit-remaining-requests": "7",
    "x-request-id": "theirs",
    "openai-organization": "operators-own",
    "openai-processing-ms": "99999",
    "x-lockgate-target": "made-up",
    "cf-ray": "1",
}
WIDE = "w" * 65_000
NASTY = (
    "a\r\nx-injected: 1",
    "a\n\ndata: [DONE]\n\n",
    "a\0b",
    "\x1b[31m\x1b]0;title\x07",
    "\u202e\u2066\u200b\ufeff",
    "\u2028\u2029\x85\x9b31m",
    '"}\n{"event": "request", "status": 200}',
    "%0d%0ax-injected:%201",
    "{{7*7}} ${jndi:ldap://127.0.0.1:9/a} <script>alert(1)</script>",
    "'; DROP TABLE usage; --",
    "\U0001f600" * 40,
    WIDE,
)
TOGETHER = ("".join(NASTY[:5]), "".join(NASTY[5:-1]), WIDE)
PATH_NAMES = (
    *("../../v1/files", "..%2f..%2fv1%2ffiles", "%2e%2e/%2e%2e/etc/passwd", "a//b", "/", "."),
    *("chat/../keyless", "chat?x=y", "chat#x", "chat\0", "chat\r\n", " chat", "chat ", "Chat"),
    *(
        "http://127.0.0.1:9/x",
        "//127.0.0.1:9/x",
        "\\\\host\\share",
        "a" * 4096,
        "\u202e",
        "\U0001f600",
    ),
    *("__proto__", "constructor", "*", "{model}", "lg1:x", "vllm/demo-model", "demo-model"),
)
OWN_HEADERS = (
    *(b"x-client-request-id", b"x-request-id", b"x-lockgate-tags", b"x-lockgate-hop"),
    *(b"traceparent", b"tracestate", b"user-agent", b"idempotency-key", b"x-forwarded-for"),
    *(b"x-stainless-timeout", b"x-stainless-retry-count", b"content-type", b"cookie", b"referer"),
)
"""Headers of a request that mean something, here or to most servers."""
