package site

import (
	"bytes"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"errors"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"fourways.example/common/h1"
)

const (
	cookieName = "auth_jwt"
	// maxToken is the maximum length of a token in bytes. Our tokens are shorter. Without
	// the limit, any client could make the server decode and hash cookies of 64 KiB.
	maxToken = 4 << 10
	// maxTokens is how many cookies of our name a request may have. The server uses the
	// first valid one and ignores cookies after the limit. A browser may send several, with
	// different paths. A thousand are an attack.
	maxTokens = 8
	// maxLogin is the maximum length of the body of a login in bytes. A body of 1 MiB with
	// 100,000 keys would take 60 ms to parse, in which an event loop serves no other client.
	maxLogin = 4 << 10
)

// account checks the password and the tokens of the only account.
type account struct {
	exists     bool
	name       string
	user, pass [sha256.Size]byte // hashes, because all hashes have the same length
	secret     []byte
	life       time.Duration
	now        func() time.Time
	parser     *jwt.Parser
	cookieEnd  []byte // the part of Set-Cookie after the token

	// last is the token that was valid most recently. A browser sends the same token with
	// every request, and verifying it costs more than the rest of the request.
	last *atomic.Pointer[verifiedToken]
}

// A verifiedToken has a valid signature and valid claims. It is never changed.
type verifiedToken struct {
	token   []byte
	expires time.Time
}

func newAccount(c Config) account {
	a := account{
		exists: c.User != "" && c.Pass != "" && len(c.Secret) > 0,
		name:   c.User,
		user:   sha256.Sum256([]byte(c.User)),
		pass:   sha256.Sum256([]byte(c.Pass)),
		secret: bytes.Clone(c.Secret),
		life:   c.TokenLife.Truncate(time.Second),
		now:    c.now,
		last:   new(atomic.Pointer[verifiedToken]),
	}
	if a.life <= 0 {
		a.life = 24 * time.Hour
	}
	if a.now == nil {
		a.now = time.Now
	}
	a.cookieEnd = append(a.cookieEnd, "; Path=/; Max-Age="...)
	a.cookieEnd = strconv.AppendInt(a.cookieEnd, int64(a.life/time.Second), 10)
	a.cookieEnd = append(a.cookieEnd, "; HttpOnly; SameSite=Lax"...)
	a.parser = jwt.NewParser(
		// Accept one algorithm, not the one that the token names (RFC 8725 §3.1). A forged
		// token can name "none", or make the server use a public key as a shared secret.
		jwt.WithValidMethods([]string{jwt.SigningMethodHS256.Alg()}),
		jwt.WithExpirationRequired(),
		jwt.WithSubject(c.User), // refuse tokens that were issued before the account was renamed
		jwt.WithStrictDecoding(),
		jwt.WithTimeFunc(a.now),
	)
	return a
}

// authenticate reports whether user and pass are the name and the password of the account.
// It always compares both, in constant time, so a client cannot learn from the response
// time how much of them is right.
func (a *account) authenticate(user, pass string) bool {
	u, p := sha256.Sum256([]byte(user)), sha256.Sum256([]byte(pass))
	good := subtle.ConstantTimeCompare(u[:], a.user[:]) & subtle.ConstantTimeCompare(p[:], a.pass[:])
	return a.exists && good == 1
}

// issue returns a new signed token.
func (a *account) issue() (string, error) {
	now := a.now().Truncate(time.Second)
	return jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.RegisteredClaims{
		Subject:   a.name,
		IssuedAt:  jwt.NewNumericDate(now),
		ExpiresAt: jwt.NewNumericDate(now.Add(a.life)),
	}).SignedString(a.secret)
}

// errCritical refuses a token whose header requires extensions. The server implements none
// (RFC 7515 §4.1.11).
var errCritical = errors.New("site: the token requires extensions")

// valid reports whether the server has issued token and it has not expired. The reason for
// false does not matter: the request is then treated as one without a token.
func (a *account) valid(token []byte) bool {
	if !a.exists || len(token) == 0 || len(token) > maxToken {
		return false
	}
	// Compare in constant time. If the time depended on the first different byte, a client
	// could find a valid token byte by byte.
	if last := a.last.Load(); last != nil && subtle.ConstantTimeCompare(last.token, token) == 1 {
		return a.now().Before(last.expires)
	}
	// MapClaims accepts a date only as a number (RFC 7519 §2), not as a string.
	claims := jwt.MapClaims{}
	_, err := a.parser.ParseWithClaims(string(token), claims, func(t *jwt.Token) (any, error) {
		if _, ok := t.Header["crit"]; ok {
			return nil, errCritical
		}
		return a.secret, nil
	})
	if err != nil {
		return false
	}
	expires, err := claims.GetExpirationTime()
	if err != nil {
		return false
	}
	a.last.Store(&verifiedToken{bytes.Clone(token), expires.Time})
	return true
}

// token returns the first valid token of the request. The slice is valid as long as the
// request.
func (s *Site) token(r *h1.Request) (token []byte, ok bool) {
	tries := 0
	for field := range r.Values("Cookie") {
		more := cookieValues(field, cookieName, func(value []byte) bool {
			if ok = s.account.valid(value); ok {
				token = value
			}
			tries++
			return !ok && tries < maxTokens
		})
		if !more {
			break
		}
	}
	return token, ok
}

// authorized reports whether the request has a valid token.
func (s *Site) authorized(r *h1.Request) bool {
	_, ok := s.token(r)
	return ok
}

// login serves /api/login.
func (s *Site) login(w *h1.Response, r *h1.Request) {
	switch r.Method {
	case h1.GET, h1.HEAD:
		if token, ok := s.token(r); ok {
			answerClaims(w, token)
			return
		}
		w.RawFields(jsonLines)
		w.Bytes(emptyObject)
	case h1.POST:
		s.logIn(w, r)
	case h1.OPTIONS:
		options(w, allowLoginLine)
	default:
		notAllowed(w, allowLoginLine)
	}
}

func (s *Site) logIn(w *h1.Response, r *h1.Request) {
	if s.refuseLogin(w, int64(len(r.Body))) {
		return
	}
	user, pass, ok := parseCredentials(r.Body)
	switch {
	case !ok:
		w.Error(400, `want {"username": "...", "password": "..."}`)
		return
	case !s.account.authenticate(user, pass):
		w.Error(403, "wrong name or password")
		return
	}
	signed, err := s.account.issue()
	if err != nil {
		w.Error(500, "the server cannot sign a token")
		return
	}
	token := []byte(signed)
	answerClaims(w, token)
	w.FieldBytes("Set-Cookie", append(append([]byte(cookieName+"="), token...), s.account.cookieEnd...))
}

// refuseLogin answers a login that fails whatever its body says. It reports whether it has
// answered. size is the length of the body in bytes, or -1 if it is not known yet.
func (s *Site) refuseLogin(w *h1.Response, size int64) bool {
	switch {
	case size > maxLogin:
		w.Refuse(413, "the body of a login is longer than 4 KiB")
	case !s.account.exists:
		w.Error(403, "login is off: the server has no account")
	default:
		return false
	}
	return true
}

// logout serves /api/logout. It makes the browser delete the cookie. The server stores no
// tokens, so a copy of the token stays valid until it expires.
func (s *Site) logout(w *h1.Response, r *h1.Request) {
	if !allowPost(w, r) {
		return
	}
	w.RawFields(jsonLines)
	w.Field("Set-Cookie", cookieName+"=; Path=/; Max-Age=0; HttpOnly; SameSite=Lax")
	w.Bytes(emptyObject)
}

// answerClaims sends the claims of a valid token as they were signed. They are the second
// of its three parts (RFC 7515 §3.1).
func answerClaims(w *h1.Response, token []byte) {
	_, rest, _ := bytes.Cut(token, dot)
	payload, _, _ := bytes.Cut(rest, dot)
	w.RawFields(jsonLines)
	b, _ := base64.RawURLEncoding.AppendDecode(w.Build(), payload) // no error: the token is valid
	w.Built(b)
}

var dot = []byte(".")

// parseCredentials parses the body of a login: a JSON object with the strings "username"
// and "password", in any order. It ignores other keys. It decodes into a map, because into
// a struct encoding/json would also accept the key "Username" for "username".
func parseCredentials(body []byte) (user, pass string, ok bool) {
	var object map[string]json.RawMessage
	if json.Unmarshal(body, &object) != nil {
		return "", "", false
	}
	user, ok = parseString(object["username"])
	if ok {
		pass, ok = parseString(object["password"])
	}
	return user, pass, ok
}

// parseString parses a JSON string. It refuses null, which json.Unmarshal would accept as
// an empty string.
func parseString(raw json.RawMessage) (s string, ok bool) {
	if len(raw) == 0 || raw[0] != '"' {
		return "", false
	}
	return s, json.Unmarshal(raw, &s) == nil
}
