package identity

import (
	"errors"
	"regexp"
	"strings"
)

// Identity is who is calling. What is not known, or is not of this kind of caller, is empty.
type Identity struct {
	Caller    string // "user", or "client" for a service account as itself
	UserID    string
	ClientID  string
	Email     string
	Role      string // the main one, the first of the roles
	Roles     []string
	SessionID string
	Scopes    []string // nil: the token is the user's own, and no scope limits it
	ActorID   string   // who acts for the caller
	Issuer    string   // who issued the access token, unless it is the gateway's own issuer
}

// HasRole says whether the caller has one of the roles.
func (i *Identity) HasRole(roles ...string) bool {
	for _, role := range roles {
		if contains(i.Roles, role) {
			return true
		}
	}
	return false
}

var (
	id     = regexp.MustCompile(`^[\x21-\x7e]{1,320}$`)
	email  = regexp.MustCompile(`^[^\s\p{Z}\p{Cc}]{1,320}$`)
	role   = regexp.MustCompile(`^[a-z][a-z0-9_-]{0,31}$`)
	scope  = regexp.MustCompile(`^[\x21\x23-\x5b\x5d-\x7e]{1,64}$`)
	level  = regexp.MustCompile(`^[\x21-\x7e]{1,64}$`)
	method = regexp.MustCompile(`^[\x21-\x7e]{1,32}$`)
)

// identityFrom reads the claims, each of which has to be there and of the form that the gateway writes.
func identityFrom(claims map[string]any) (*Identity, error) {
	caller := &Identity{Caller: "user", UserID: text(claims["sub"])}
	if clientID := strings.TrimPrefix(caller.UserID, "client:"); clientID != caller.UserID {
		caller = &Identity{Caller: "client", ClientID: clientID}
	}
	caller.Email, caller.Role = text(claims["email"]), text(claims["role"])
	caller.SessionID, caller.Issuer = text(claims["sid"]), text(claims["token_iss"])
	roles, areRoles := texts(claims["roles"])
	caller.Roles = roles
	if has(claims, "scope") {
		// Of an empty text strings.Split would make one empty scope.
		caller.Scopes = strings.Fields(text(claims["scope"]))
	}
	act, _ := claims["act"].(map[string]any)
	caller.ActorID = text(act["sub"])

	isClient := caller.Caller == "client"
	// A token of another issuer than the gateway's own may say less of a user.
	isForeign := has(claims, "token_iss")
	// Without scopes a user is not limited by any: whoever must be says which, be it none.
	isLimited := isClient || isForeign || strings.HasPrefix(caller.ActorID, "client:")
	mainRole := ""
	if len(roles) > 0 {
		mainRole = roles[0]
	}
	isValid := isText(claims, "sub", id) &&
		(isText(claims, "sid", id) || isForeign && !has(claims, "sid")) &&
		(!isClient || !has(claims, "email")) &&
		(isClient || isText(claims, "email", email) || isForeign && !has(claims, "email")) &&
		areRoles && areTexts(roles, role, 32) && (len(roles) > 0 || isClient || isForeign) &&
		caller.Role == mainRole && has(claims, "role") == (len(roles) > 0) &&
		(!has(claims, "act") || isActor(claims["act"], 4)) &&
		(!isLimited || has(claims, "scope")) &&
		(!has(claims, "scope") || areScopes(caller.Scopes, claims["scope"], isLimited)) &&
		(!has(claims, "acr") || isText(claims, "acr", level)) &&
		(!has(claims, "amr") || areMethods(claims["amr"])) &&
		(!has(claims, "auth_time") || isTime(claims["auth_time"])) &&
		(!isForeign || isText(claims, "token_iss", id))
	if !isValid {
		return nil, errors.New("a claim is missing or of another form")
	}
	return caller, nil
}

// isActor checks who acts for the caller, and for whom that one acted before (RFC 8693 section 4.1).
func isActor(value any, most int) bool {
	act, isObject := value.(map[string]any)
	return isObject && most > 0 && isText(act, "sub", id) &&
		(!has(act, "sid") || isText(act, "sid", id)) &&
		(!has(act, "grant") || isText(act, "grant", id)) &&
		(!has(act, "act") || isActor(act["act"], most-1))
}

// areScopes takes scopes that single spaces part (RFC 8693 section 4.2), each once.
func areScopes(scopes []string, whole any, mayBeNone bool) bool {
	for index, one := range scopes {
		if contains(scopes[:index], one) {
			return false
		}
	}
	joined := strings.Join(scopes, " ")
	return joined == whole && len(joined) <= 512 && areTexts(scopes, scope, 32) && (mayBeNone || len(scopes) > 0)
}

func areMethods(value any) bool {
	list, isList := texts(value)
	return isList && areTexts(list, method, 16)
}

func areTexts(values []string, form *regexp.Regexp, most int) bool {
	for _, value := range values {
		if !form.MatchString(value) {
			return false
		}
	}
	return len(values) <= most
}

func isText(claims map[string]any, name string, form *regexp.Regexp) bool {
	return form.MatchString(text(claims[name]))
}

func isTime(value any) bool {
	time, is := seconds(value)
	return is && time == float64(int64(time))
}

// seconds reads a time in seconds since 1970: one in milliseconds would be after the year 5138.
func seconds(value any) (float64, bool) {
	number, isNumber := value.(float64)
	return number, isNumber && number >= 0 && number < 1e11
}

// text is empty for what is no text.
func text(value any) string {
	text, _ := value.(string)
	return text
}

// texts reads a list of nothing but texts.
func texts(value any) (list []string, isList bool) {
	values, isList := value.([]any)
	list = []string{}
	for _, value := range values {
		text, isText := value.(string)
		if !isText {
			return nil, false
		}
		list = append(list, text)
	}
	return list, isList
}

func has(claims map[string]any, name string) bool {
	_, isThere := claims[name]
	return isThere
}

func contains(list []string, wanted string) bool {
	for _, one := range list {
		if one == wanted {
			return true
		}
	}
	return false
}
