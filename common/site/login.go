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
	// A longer one is not a token of ours; without a limit a 64 KiB cookie would be
	// decoded and hashed for everybody who sends one.
	maxToken = 4 << 10
	// Of so many cookies of our name the first valid one counts. Several of them are
	// possible with different paths; a thousand are an attack.
	maxTokens = 8
)

// account is the one account, if there is one, and its tokens.
type account struct {
	exists     bool
	name       string
	user, pass [sha256.Size]byte // only hashes are compared: they have one length
	secret     []byte
	life       time.Duration
	now        func() time.Time
	parser     *jwt.Parser
	cookieEnd  []byte // what follows the token in Set-Cookie

	// The last token that was valid. A browser sends the same one with every
	// request, and checking it again costs more than all the rest of a request.
	last *atomic.Pointer[checked]
}

// checked is a token whose signature and claims were found good. It is never changed.
type checked struct {
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
		last:   new(atomic.Pointer[checked]),
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
		// Never what the token itself says (RFC 8725 §3.1): "none", or a public key
		// taken for a shared secret.
		jwt.WithValidMethods([]string{jwt.SigningMethodHS256.Alg()}),
		jwt.WithExpirationRequired(),
		jwt.WithSubject(c.User), // a token from before the account was renamed is no one's
		jwt.WithStrictDecoding(),
		jwt.WithTimeFunc(a.now),
	)
	return a
}

// admits tells whether name and password are the account's. Both are always
// compared, in a time that does not depend on where they differ.
func (a *account) admits(user, pass string) bool {
	u, p := sha256.Sum256([]byte(user)), sha256.Sum256([]byte(pass))
	good := subtle.ConstantTimeCompare(u[:], a.user[:]) & subtle.ConstantTimeCompare(p[:], a.pass[:])
	return a.exists && good == 1
}

// issue signs a new token.
func (a *account) issue() (string, error) {
	now := a.now().Truncate(time.Second)
	return jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.RegisteredClaims{
		Subject:   a.name,
		IssuedAt:  jwt.NewNumericDate(now),
		ExpiresAt: jwt.NewNumericDate(now.Add(a.life)),
	}).SignedString(a.secret)
}

// errCritical is for a header that demands what is not understood here (RFC 7515 §4.1.11).
var errCritical = errors.New("site: a token with critical extensions")

// valid tells whether token is one of ours and not expired. Why it is not makes no
// difference: the request is then nobody's.
func (a *account) valid(token []byte) bool {
	if !a.exists || len(token) == 0 || len(token) > maxToken {
		return false
	}
	// In constant time: a comparison that stops early would let a patient client
	// guess a valid token byte by byte.
	if last := a.last.Load(); last != nil && subtle.ConstantTimeCompare(last.token, token) == 1 {
		return a.now().Before(last.expires)
	}
	claims := jwt.MapClaims{} // in which a date is a number, and not a string that holds one (RFC 7519 §2)
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
	a.last.Store(&checked{bytes.Clone(token), expires.Time})
	return true
}

// token returns the request's first valid token, valid as long as the request.
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

// authorized tells whether the request has a valid token.
func (s *Site) authorized(r *h1.Request) bool {
	_, ok := s.token(r)
	return ok
}

// login is /api/login.
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
	if !s.account.exists {
		w.Error(403, "there is no account")
		return
	}
	user, pass, ok := parseCredentials(r.Body)
	switch {
	case !ok:
		w.Error(400, `want {"username": "...", "password": "..."}`)
		return
	case !s.account.admits(user, pass):
		w.Error(403, "wrong name or password")
		return
	}
	signed, err := s.account.issue()
	if err != nil {
		w.Error(500, "cannot sign a token")
		return
	}
	token := []byte(signed)
	answerClaims(w, token)
	w.FieldBytes("Set-Cookie", append(append([]byte(cookieName+"="), token...), s.account.cookieEnd...))
}

// logout is /api/logout. There is nothing to forget on this side: a token that was
// copied elsewhere is good until it expires.
func (s *Site) logout(w *h1.Response, r *h1.Request) {
	if !posts(w, r) {
		return
	}
	w.RawFields(jsonLines)
	w.Field("Set-Cookie", cookieName+"=; Path=/; Max-Age=0; HttpOnly; SameSite=Lax")
	w.Bytes(emptyObject)
}

// answerClaims sends the claims of a valid token just as they were signed: they are
// the middle one of its three parts (RFC 7515 §3.1).
func answerClaims(w *h1.Response, token []byte) {
	_, rest, _ := bytes.Cut(token, dot)
	payload, _, _ := bytes.Cut(rest, dot)
	w.RawFields(jsonLines)
	b, _ := base64.RawURLEncoding.AppendDecode(w.Build(), payload) // it was decoded once already
	w.Built(b)
}

var dot = []byte(".")

// parseCredentials reads the body of a login: one JSON object with these two
// strings, in any order, among whatever else. A map, not a struct, because for a
// struct encoding/json takes "Username" for "username".
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

func parseString(raw json.RawMessage) (s string, ok bool) {
	if len(raw) == 0 || raw[0] != '"' { // null would be taken for an empty string
		return "", false
	}
	return s, json.Unmarshal(raw, &s) == nil
}
