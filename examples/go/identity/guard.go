package identity

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
)

type contextKey struct{}

// From is the caller whom a guard let pass; nil where none ran.
func From(r *http.Request) *Identity {
	caller, _ := r.Context().Value(contextKey{}).(*Identity)
	return caller
}

// RequireIdentity lets people pass who are signed in. Never a service account: those are for RequireCaller.
func (v *Verifier) RequireIdentity(next http.Handler) http.Handler {
	return v.RequireCaller(next, "user")
}

// RequireCaller lets callers of these kinds pass, "user" or "client". Guards within it go by whom it found.
func (v *Verifier) RequireCaller(next http.Handler, kinds ...string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		tokens := r.Header.Values("X-Identity-Token")
		if len(tokens) == 0 {
			Refuse(w, http.StatusUnauthorized, "TOKEN_MISSING", "Sign in first")
			return
		}
		caller, err := v.Verify(tokens[0])
		if err != nil || len(tokens) > 1 {
			Refuse(w, http.StatusUnauthorized, "TOKEN_INVALID", "The identity assertion is invalid")
			return
		}
		if !contains(kinds, caller.Caller) {
			refused := map[string]string{"user": "people", "client": "service accounts"}[caller.Caller]
			Refuse(w, http.StatusForbidden, "CALLER_REFUSED", "This is not for "+refused)
			return
		}
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), contextKey{}, caller)))
	})
}

// RequireRole lets callers pass who have one of the roles: people, or within RequireCaller those whom that lets pass.
func (v *Verifier) RequireRole(next http.Handler, roles ...string) http.Handler {
	withRole := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !From(r).HasRole(roles...) {
			Refuse(w, http.StatusForbidden, "ROLE_REQUIRED", "This needs the role "+strings.Join(roles, " or "))
			return
		}
		next.ServeHTTP(w, r)
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if From(r) == nil {
			v.RequireIdentity(withRole).ServeHTTP(w, r)
			return
		}
		withRole.ServeHTTP(w, r)
	})
}

// Refuse responds with problem details (RFC 9457), with the codes that the gateway has.
func Refuse(w http.ResponseWriter, status int, code, title string) {
	w.Header().Set("Content-Type", "application/problem+json")
	// RFC 9110 asks every 401 for a challenge.
	if status == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", "Bearer")
	}
	w.WriteHeader(status)
	kind := "urn:sallyport:problem:" + strings.ReplaceAll(strings.ToLower(code), "_", "-")
	_ = json.NewEncoder(w).Encode(map[string]any{
		"type": kind, "title": title, "status": status, "code": code, "error": title,
	})
}
