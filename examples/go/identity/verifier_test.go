package identity

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
	"time"
)

type object = map[string]any

var (
	ours, _     = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	stranger, _ = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	doctor      = &Identity{
		Caller: "user", UserID: "user-1", Email: "doctor@example.com", Role: "doctor",
		Roles: []string{"doctor", "patient"}, SessionID: "session-1",
	}
)

func pemOf(t *testing.T, key any) string {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
}

func verifierOf(t *testing.T, keys ...any) *Verifier {
	t.Helper()
	text := ""
	for _, key := range keys {
		text += pemOf(t, key)
	}
	verifier, err := NewVerifier(text, "reports")
	if err != nil {
		t.Fatal(err)
	}
	return verifier
}

// with is a copy of an object with other members; nil takes one away.
func with(base, others object) object {
	made := object{}
	for _, members := range []object{base, others} {
		for name, value := range members {
			made[name] = value
			if value == nil {
				delete(made, name)
			}
		}
	}
	return made
}

func header(others object) object {
	return with(object{"alg": "ES256", "typ": "identity+jwt", "kid": "1"}, others)
}

func claims(others object) object {
	now := time.Now().Unix()
	return with(object{
		"iss": "sallyport-gateway", "aud": "reports", "caller": "user", "sub": "user-1", "sid": "session-1",
		"email": "doctor@example.com", "role": "doctor", "roles": []string{"doctor", "patient"},
		"iat": now, "exp": now + 60, "jti": "1",
	}, others)
}

func encode(value any) string {
	data, _ := json.Marshal(value)
	return base64.RawURLEncoding.EncodeToString(data)
}

func sign(header, claims object, key crypto.Signer) string {
	content := encode(header) + "." + encode(claims)
	hash := sha256.Sum256([]byte(content))
	var signature []byte
	switch key := key.(type) {
	case *ecdsa.PrivateKey:
		r, s, _ := ecdsa.Sign(rand.Reader, key, hash[:])
		signature = append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...)
	case ed25519.PrivateKey:
		signature = ed25519.Sign(key, []byte(content))
	case *rsa.PrivateKey:
		signature, _ = rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA256, hash[:])
	}
	return content + "." + base64.RawURLEncoding.EncodeToString(signature)
}

func forged(others object) string { return sign(header(nil), claims(others), ours) }

func TestAssertionSaysWhoIsCalling(t *testing.T) {
	verifier := verifierOf(t, ours.Public())
	machine := object{
		"caller": "client", "sub": "client:nightly", "client_id": "nightly", "scope": "",
		"email": nil, "role": nil, "roles": []string{},
	}
	foreign := object{
		"token_iss": "https://login.example", "scope": "a",
		"email": nil, "sid": nil, "role": nil, "roles": []string{},
	}
	acting := object{"act": object{"sub": "client:nightly"}, "scope": "a b"}
	expected := map[string]*Identity{
		forged(nil): doctor,
		forged(machine): {
			Caller: "client", ClientID: "nightly", Roles: []string{}, SessionID: "session-1", Scopes: []string{},
		},
		forged(foreign): {
			Caller: "user", UserID: "user-1", Roles: []string{}, Scopes: []string{"a"}, Issuer: "https://login.example",
		},
		forged(acting): {
			Caller: "user", UserID: "user-1", Email: "doctor@example.com", Role: "doctor",
			Roles: []string{"doctor", "patient"}, SessionID: "session-1",
			Scopes: []string{"a", "b"}, ActorID: "client:nightly",
		},
	}
	for token, caller := range expected {
		if found, err := verifier.Verify(token); err != nil || !reflect.DeepEqual(found, caller) {
			t.Errorf("%+v, %v is not %+v", found, err, caller)
		}
	}
}

func TestAnyOfSeveralKeysOfAnyKindMaySign(t *testing.T) {
	_, edwards, _ := ed25519.GenerateKey(rand.Reader)
	rsaKey, _ := rsa.GenerateKey(rand.Reader, 2048)
	verifier := verifierOf(t, stranger.Public(), rsaKey.Public(), ours.Public(), edwards.Public())
	for algorithm, key := range map[string]crypto.Signer{"ES256": ours, "EdDSA": edwards, "RS256": rsaKey} {
		if _, err := verifier.Verify(sign(header(object{"alg": algorithm}), claims(nil), key)); err != nil {
			t.Errorf("%s: %v", algorithm, err)
		}
	}
}

func TestAKeyThatIsWeakOrNoneIsRefused(t *testing.T) {
	p384, _ := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	short, _ := rsa.GenerateKey(rand.Reader, 1024)
	broken := "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"
	for _, keys := range []string{"", "a word", broken, pemOf(t, p384.Public()), pemOf(t, short.Public())} {
		if _, err := NewVerifier(keys, "reports"); err == nil {
			t.Errorf("%q is taken", keys)
		}
	}
	if _, err := NewVerifier(pemOf(t, ours.Public()), ""); err == nil {
		t.Error("no audience is taken")
	}
}

func TestWhatTheGatewayDidNotSignForHereIsRefused(t *testing.T) {
	verifier := verifierOf(t, ours.Public())
	now := time.Now().Unix()
	good := forged(nil)
	parts := strings.Split(good, ".")
	unsigned := encode(header(object{"alg": "none"})) + "." + parts[1]
	symmetric := encode(header(object{"alg": "HS256"})) + "." + parts[1]
	mac := hmac.New(sha256.New, []byte(pemOf(t, ours.Public())))
	mac.Write([]byte(symmetric))
	withHeader := func(others object) string { return sign(header(others), claims(nil), ours) }
	forgeries := map[string]string{
		"empty":                      "",
		"a word":                     "nonsense",
		"two at once":                good + ", " + good,
		"another key":                sign(header(nil), claims(nil), stranger),
		"alg none":                   unsigned + ".",
		"the public key as a secret": symmetric + "." + base64.RawURLEncoding.EncodeToString(mac.Sum(nil)),
		"not signed":                 parts[0] + "." + parts[1] + ".",
		"tampered":                   parts[0] + "." + encode(claims(object{"sub": "admin"})) + "." + parts[2],
		"padded":                     good + "==",
		"spare bits":                 good[:len(good)-1] + string(good[len(good)-1]+1),
		"an access token":            withHeader(object{"typ": "at+jwt"}),
		"no type":                    withHeader(object{"typ": nil}),
		"a key that it brings":       withHeader(object{"jwk": object{}}),
		"crit":                       withHeader(object{"crit": []string{"exp"}}),
		"a header that is no object": base64.RawURLEncoding.EncodeToString([]byte("[]")) + "." + parts[1] + "." + parts[2],
	}
	wrong := map[string][]any{
		"iss":       {nil, "someone", []string{"sallyport-gateway"}},
		"aud":       {nil, "notifications", []string{}, []any{"reports", 1}},
		"exp":       {nil, now - 10, "soon", now * 1000, -1},
		"iat":       {nil, "now"},
		"nbf":       {now + 60, "now"},
		"sub":       {nil, "", 1, "a b", "client:nightly"},
		"sid":       {nil, 1},
		"email":     {nil, "a b"},
		"role":      {nil, "patient"},
		"roles":     {nil, "doctor", []string{}, []any{"doctor", 1}, []string{"doctor", "Admin"}},
		"scope":     {"", "a  b", "a a", 1},
		"act":       {"someone", object{}, object{"sub": "client:nightly"}},
		"acr":       {2},
		"auth_time": {"now", 0.5},
		"amr":       {"pwd"},
		"token_iss": {1, "", "https://login.example"},
	}
	for name, values := range wrong {
		for _, value := range values {
			forgeries[name+": "+encode(value)] = forged(object{name: value})
		}
	}
	for name, token := range forgeries {
		if caller, err := verifier.Verify(token); err == nil {
			t.Errorf("%s: %+v", name, caller)
		}
	}
}

func TestClocksMayDifferByAFewSeconds(t *testing.T) {
	verifier := verifierOf(t, ours.Public())
	token := forged(object{"exp": time.Now().Unix() - 2, "iat": time.Now().Unix() + 20})
	if _, err := verifier.Verify(token); err != nil {
		t.Error(err)
	}
	verifier.now = func() time.Time { return time.Now().Add(66 * time.Second) }
	if _, err := verifier.Verify(forged(nil)); err == nil {
		t.Error("it has no end")
	}
}

func TestGuardsRefuseWithTheGatewaysCodes(t *testing.T) {
	guard := verifierOf(t, ours.Public())
	reached := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusOK) })
	machine := forged(object{
		"sub": "client:nightly", "client_id": "nightly", "scope": "", "email": nil, "roles": []string{"doctor"},
	})
	nurse := forged(object{"role": "nurse", "roles": []string{"nurse"}})
	people := guard.RequireIdentity(reached)
	doctors := guard.RequireRole(reached, "doctor", "admin")
	anybody := guard.RequireCaller(guard.RequireRole(reached, "doctor"), "user", "client")
	for _, one := range []struct {
		name   string
		guard  http.Handler
		tokens []string
		status int
		code   string
	}{
		{"signed in", people, []string{forged(nil)}, 200, ""},
		{"nobody", people, nil, 401, "TOKEN_MISSING"},
		{"an empty header", people, []string{""}, 401, "TOKEN_INVALID"},
		{"two headers", people, []string{forged(nil), forged(nil)}, 401, "TOKEN_INVALID"},
		{"a machine", people, []string{machine}, 403, "CALLER_REFUSED"},
		{"a doctor", doctors, []string{forged(nil)}, 200, ""},
		{"a nurse", doctors, []string{nurse}, 403, "ROLE_REQUIRED"},
		{"a machine that is a doctor", doctors, []string{machine}, 403, "CALLER_REFUSED"},
		{"such a machine, where machines may", anybody, []string{machine}, 200, ""},
		{"a nurse, where machines may", anybody, []string{nurse}, 403, "ROLE_REQUIRED"},
	} {
		request := httptest.NewRequest("GET", "/", nil)
		for _, token := range one.tokens {
			request.Header.Add("X-Identity-Token", token)
		}
		response := httptest.NewRecorder()
		one.guard.ServeHTTP(response, request)
		var problem struct{ Code string }
		_ = json.Unmarshal(response.Body.Bytes(), &problem)
		if response.Code != one.status || problem.Code != one.code {
			t.Errorf("%s: %d %s", one.name, response.Code, problem.Code)
		}
	}
	if From(httptest.NewRequest("GET", "/", nil)) != nil {
		t.Error("there is a caller without a guard")
	}
}
