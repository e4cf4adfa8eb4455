-- `http-request lua.sallyport` of haproxy.cfg: asks Sallyport whether a request may pass, and as whose.

local identity = {
    "x-caller", "x-client-id", "x-user-id", "x-user-email", "x-user-role", "x-user-roles", "x-session-id",
    "x-scopes", "x-actor-id", "x-auth-acr", "x-auth-time", "x-issuer", "x-request-id", "x-identity-token",
}
-- Of the client's headers, what is for one hop, and what this proxy says itself.
local own = {
    "connection", "content-length", "transfer-encoding", "te", "expect", "cookie",
    "x-forwarded-method", "x-forwarded-uri",
}
-- Of a refusal, what the client gets.
local shown = { "content-type", "www-authenticate", "retry-after", "x-sallyport-code", "cache-control" }

core.register_action("sallyport", { "http-req" }, function(txn, address)
    local headers = {}
    for name, values in pairs(txn.http:req_get_headers()) do
        headers[name] = {}
        -- They are counted from 0 there, and from 1 here.
        for at = 0, #values do headers[name][at + 1] = values[at] end
    end
    for _, name in ipairs(own) do headers[name] = nil end
    headers["x-original-method"] = { txn.f:method() }
    -- Of HTTP/2, `url` is made up of several headers.
    headers["x-original-uri"] = { txn.f:fc_http_major() == 1 and txn.f:url() or txn.f:pathq() }
    headers["x-forwarded-host"] = headers["host"]
    headers["x-forwarded-proto"] = { txn.f:ssl_fc() == 1 and "https" or "http" }
    headers["x-forwarded-for"] = { txn.f:src() }

    local answer = core.httpclient():get({ url = address, headers = headers, timeout = 5000 })
    if answer.status == 200 then
        for _, name in ipairs(identity) do
            txn.http:req_del_header(name)
            local value = answer.headers[name] and answer.headers[name][0]
            if value then txn.http:req_add_header(name, value) end
        end
        txn:set_var("txn.sallyport", "allowed")
        return
    end
    -- No answer has the status 0.
    local status = answer.status >= 400 and answer.status or 503
    local reply = txn:reply({ status = status, body = answer.body })
    for _, name in ipairs(shown) do
        local value = answer.headers and answer.headers[name] and answer.headers[name][0]
        if value then reply:add_header(name, value) end
    end
    txn:done(reply)
end, 1)
