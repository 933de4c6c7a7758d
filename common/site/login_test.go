package site

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/go-cmp/cmp"
)

func TestCookieValues(t *testing.T) {
	long := strings.Repeat("x", 50_000)
	for _, tt := range []struct {
		field string
		want  []string
	}{
		{"auth_jwt=a", []string{"a"}},
		{"x=1; auth_jwt=a; y=2", []string{"a"}},
		{"x=1;auth_jwt=a;y=2", []string{"a"}},
		{"  auth_jwt = a  ; y", []string{"a"}},
		{"auth_jwt=a=b==", []string{"a=b=="}},
		{`auth_jwt="a"`, []string{"a"}},
		{`auth_jwt="`, []string{`"`}},
		{`auth_jwt="a;b"`, []string{`"a`}}, // a semicolon ends a cookie even in quotes (RFC 6265 §5.2)
		{"auth_jwt=", []string{""}},
		{"auth_jwt=a; auth_jwt=b", []string{"a", "b"}},
		{"!!!!=1; ~~~~=2; prefix_auth_jwt=3; auth_jwt_suffix=4; auth_jwt=5", []string{"5"}},
		{"a=auth_jwt=6; auth_jwt=7", []string{"7"}},
		{long + "=" + long + "; auth_jwt=8; y=" + long, []string{"8"}},
		{";;; ; =; =x; auth_jwt=9;", []string{"9"}},
		{"AUTH_JWT=a", nil},
		{"auth_jwt", nil},
		{"xauth_jwt=a", nil},
		{"auth_jwtx=a", nil},
		{"x auth_jwt=a", nil},
		{"", nil},
	} {
		var got []string
		cookieValues([]byte(tt.field), cookieName, func(v []byte) bool {
			got = append(got, string(v))
			return true
		})
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%.60q (-want +got):\n%s", tt.field, diff)
		}
	}
}

func TestParseCredentials(t *testing.T) {
	for _, tt := range []struct {
		body string
		ok   bool
	}{
		{`{"username":"u","password":"p"}`, true},
		{` { "password" : "p" , "x": [1, {}], "username" : "u" } `, true},
		{`{"\u0075sername":"u","password":"\u0070"}`, true},
		{`{"Username":"U","username":"u","PASSWORD":"P","password":"p"}`, true},
		{`{"username":"u","password":"p"}{}`, false},
		{`{"username":"u","password":"p"} x`, false},
		{`{"Username":"u","Password":"p"}`, false},
		{`{"username":"u"}`, false},
		{`{"password":"p"}`, false},
		{`{"username":null,"password":"p"}`, false},
		{`{"username":"u","password":7}`, false},
		{`{"username":["u"],"password":"p"}`, false},
		{`["u","p"]`, false},
		{`"u"`, false},
		{`null`, false},
		{`{}`, false},
		{``, false},
		{`username=u&password=p`, false},
		{strings.Repeat(`{"username":`, 20_000), false},
	} {
		user, pass, ok := parseCredentials([]byte(tt.body))
		if ok != tt.ok || ok && (user != "u" || pass != "p") {
			t.Errorf("%.60s: %q, %q, %v; want %v", tt.body, user, pass, ok, tt.ok)
		}
	}
}

func TestTokens(t *testing.T) {
	clock := newClock()
	a := newAccount(withAccount(Config{now: clock.now}))
	now := clock.now()
	claims := func(change func(jwt.MapClaims)) jwt.MapClaims {
		c := jwt.MapClaims{"sub": testUser, "iat": now.Unix(), "exp": now.Add(time.Hour).Unix()}
		if change != nil {
			change(c)
		}
		return c
	}
	sign := func(m jwt.SigningMethod, key any, c jwt.MapClaims) string {
		t.Helper()
		s, err := jwt.NewWithClaims(m, c).SignedString(key)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	secret := []byte(testSecret)
	good := sign(jwt.SigningMethodHS256, secret, claims(nil))
	withCrit := jwt.NewWithClaims(jwt.SigningMethodHS256, claims(nil))
	withCrit.Header["crit"] = []string{"x"} // RFC 7515 §4.1.11
	critical, err := withCrit.SignedString(secret)
	if err != nil {
		t.Fatal(err)
	}
	part := func(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }
	parts := strings.Split(good, ".")

	for _, tt := range []struct {
		name, token string
		want        bool
	}{
		{"valid", good, true},
		{"additional claims", sign(jwt.SigningMethodHS256, secret, claims(func(c jwt.MapClaims) { c["x"] = 1 })), true},
		{"no iat", sign(jwt.SigningMethodHS256, secret, claims(func(c jwt.MapClaims) { delete(c, "iat") })), true},
		{"another secret", sign(jwt.SigningMethodHS256, []byte("x"), claims(nil)), false},
		{"empty secret", sign(jwt.SigningMethodHS256, []byte{}, claims(nil)), false},
		{"HS384", sign(jwt.SigningMethodHS384, secret, claims(nil)), false},
		{"HS512", sign(jwt.SigningMethodHS512, secret, claims(nil)), false},
		{"none", sign(jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, claims(nil)), false},
		{"None", part(`{"alg":"None"}`) + "." + parts[1] + ".", false},
		{"critical extensions", critical, false},
		{"no alg", part(`{}`) + "." + parts[1] + "." + parts[2], false},
		{"expired", sign(jwt.SigningMethodHS256, secret, claims(func(c jwt.MapClaims) { c["exp"] = now.Unix() - 1 })), false},
		{"no exp", sign(jwt.SigningMethodHS256, secret, claims(func(c jwt.MapClaims) { delete(c, "exp") })), false},
		{"exp is a string", sign(jwt.SigningMethodHS256, secret, claims(func(c jwt.MapClaims) { c["exp"] = "tomorrow" })), false},
		{"not valid yet", sign(jwt.SigningMethodHS256, secret, claims(func(c jwt.MapClaims) { c["nbf"] = now.Unix() + 60 })), false},
		{"another sub", sign(jwt.SigningMethodHS256, secret, claims(func(c jwt.MapClaims) { c["sub"] = "eve" })), false},
		{"no sub", sign(jwt.SigningMethodHS256, secret, claims(func(c jwt.MapClaims) { delete(c, "sub") })), false},
		{"no signature", parts[0] + "." + parts[1] + ".", false},
		{"two parts", parts[0] + "." + parts[1], false},
		{"four parts", good + ".", false},
		{"changed claims", parts[0] + "." + part(`{"sub":"anna","exp":9999999999}`) + "." + parts[2], false},
		{"padding", good + "=", false},
		{"another encoding of the same signature", good[:len(good)-1] + twin(good[len(good)-1]), false},
		{"without its last byte", good[:len(good)-1], false},
		{"only dots", "..", false},
		{"empty", "", false},
		{"over maxToken", sign(jwt.SigningMethodHS256, secret, claims(func(c jwt.MapClaims) { c["x"] = strings.Repeat("x", maxToken) })), false},
		{"bytes that are not ASCII", "\xff\xfe.\x80.\xff", false},
		{"valid again", good, true},
	} {
		for range 2 { // the second time, account.last may answer
			if got := a.valid([]byte(tt.token)); got != tt.want {
				t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
			}
		}
	}

	clock.advance(time.Hour - time.Second)
	if !a.valid([]byte(good)) {
		t.Error("the token is not valid one second before it expires")
	}
	clock.advance(time.Second)
	if a.valid([]byte(good)) {
		t.Error("the token in account.last is still valid after it has expired")
	}
	nobody := newAccount(Config{Secret: secret, now: clock.now})
	anonymous := sign(jwt.SigningMethodHS256, secret, jwt.MapClaims{"sub": "", "exp": clock.now().Add(time.Hour).Unix()})
	if nobody.valid([]byte(anonymous)) || nobody.authenticate("", "") {
		t.Error("without an account, a token or an empty name and password are valid")
	}
}

// twin returns another base64 digit that a lenient decoder accepts instead of digit at the
// end of a signature. The two digits differ only in bits that the decoder drops.
func twin(digit byte) string {
	const digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	i := strings.IndexByte(digits, digit) ^ 1
	return digits[i : i+1]
}

func TestAuthenticate(t *testing.T) {
	a := newAccount(withAccount(Config{}))
	for _, tt := range []struct {
		user, pass string
		want       bool
	}{
		{testUser, testPass, true},
		{testUser, "", false},
		{testUser, testPass + "x", false},
		{"", testPass, false},
		{"eve", testPass, false},
		{testPass, testUser, false},
		{"Anna", testPass, false},
	} {
		if got := a.authenticate(tt.user, tt.pass); got != tt.want {
			t.Errorf("authenticate(%q, %q) = %v, want %v", tt.user, tt.pass, got, tt.want)
		}
	}
}

// credentials returns the body of a login.
func credentials(user, pass string) string {
	return fmt.Sprintf(`{"username":%q,"password":%q}`, user, pass)
}

// token logs in and returns the token.
func (f *fixture) token() string {
	f.t.Helper()
	r := f.do("POST", "/api/login", "", credentials(testUser, testPass))
	token, found := strings.CutPrefix(r.get("Set-Cookie"), "auth_jwt=")
	token, rest, _ := strings.Cut(token, ";")
	if want := " Path=/; Max-Age=3600; HttpOnly; SameSite=Lax"; !found || rest != want {
		f.t.Fatalf("login: %d, Set-Cookie %q, want auth_jwt=...;%s", r.Status, r.get("Set-Cookie"), want)
	}
	return token
}

func TestLogin(t *testing.T) {
	f := serveSite(t, withAccount(Config{}), map[string]string{"private/x.txt": "x"})

	r := f.get("/api/login")
	if r.Status != 200 || r.Body != "{}" || r.get("Content-Type") != "application/json" {
		t.Errorf("without a cookie: %+v", r)
	}
	for _, tt := range []struct {
		body   string
		status int
	}{
		{credentials(testUser, "wrong"), 403},
		{credentials("wrong", testPass), 403},
		{"nonsense", 400},
		{"", 400},
		{credentials(testUser, testPass), 200},
	} {
		r := f.do("POST", "/api/login", "", tt.body)
		if r.Status != tt.status || (r.get("Set-Cookie") != "") != (tt.status == 200) || r.get("Connection") != "" {
			t.Errorf("login with %q: %+v, want %d on a connection that is kept alive", tt.body, r, tt.status)
		}
	}

	token := f.token()
	now := f.clock.now().Unix()
	want := map[string]any{"sub": testUser, "iat": float64(now), "exp": float64(now + 3600)}
	check := func(what string, r reply) {
		t.Helper()
		var got map[string]any
		if err := json.Unmarshal([]byte(r.Body), &got); err != nil {
			t.Errorf("%s: %+v: %v", what, r, err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: claims (-want +got):\n%s", what, diff)
		}
	}
	check("the answer to a login", f.do("POST", "/api/login", "X: y", "", credentials(testUser, testPass)))
	check("one cookie", f.get("/api/login", "Cookie: auth_jwt="+token))
	check("among others", f.get("/api/login", "Cookie: !!!!=1; prefix_auth_jwt=x; auth_jwt="+token+"; ~~~~=2"))
	check("in a second field", f.get("/api/login", "Cookie: a=b", "Cookie: auth_jwt="+token))
	check("after an invalid one", f.get("/api/login", "Cookie: auth_jwt=bad; auth_jwt="+token))
	check("in quotes", f.get("/api/login", `Cookie: auth_jwt="`+token+`"`))
	check("after a long one", f.get("/api/login", "Cookie: big="+strings.Repeat("x", 50_000)+"; auth_jwt="+token))

	for _, cookie := range []string{
		"auth_jwt=" + token[:len(token)-1],
		"auth_jwt=" + strings.Repeat("x", 50_000),
		"auth_jwt=\x80\xff",
		"xauth_jwt=" + token,
		strings.Repeat("auth_jwt=x;", maxTokens) + "auth_jwt=" + token, // more cookies than maxTokens
	} {
		if r := f.get("/api/login", "Cookie: "+cookie); r.Status != 200 || r.Body != "{}" {
			t.Errorf("cookie %.40q: %+v, want {}", cookie, r)
		}
		if r := f.get("/private/x.txt", "Cookie: "+cookie); r.Status != 403 {
			t.Errorf("cookie %.40q: %+v, want 403", cookie, r)
		}
	}
	if r := f.get("/private/x.txt", "Cookie: auth_jwt="+token); r.Status != 200 || r.Body != "x" {
		t.Errorf("with a token: %+v", r)
	}
	f.clock.advance(time.Hour + time.Second)
	if r := f.get("/private/x.txt", "Cookie: auth_jwt="+token); r.Status != 403 {
		t.Errorf("with an expired token: %+v", r)
	}

	r = f.do("POST", "/api/logout")
	if r.Status != 200 || r.Body != "{}" || r.get("Set-Cookie") != "auth_jwt=; Path=/; Max-Age=0; HttpOnly; SameSite=Lax" {
		t.Errorf("logout: %+v", r)
	}
}

// A login with a body over 4 KiB is refused before the body is parsed.
func TestLoginSize(t *testing.T) {
	body := func(n int) string { // a correct login of n bytes
		login := credentials(testUser, testPass)
		return login + strings.Repeat(" ", n-len(login))
	}
	for name, c := range map[string]Config{"an account": withAccount(Config{}), "no account": {}} {
		f := serveSite(t, c, nil)
		want := 200
		if !f.site.account.exists {
			want = 403
		}
		if r := f.do("POST", "/api/login", "", body(maxLogin)); r.Status != want || r.get("Connection") != "" {
			t.Errorf("%s, 4096 bytes: %+v, want %d on a connection that is kept alive", name, r, want)
		}
		if r := f.do("POST", "/api/login", "", body(maxLogin+1)); r.Status != 413 || r.get("Connection") != "close" || r.get("Set-Cookie") != "" {
			t.Errorf("%s, 4097 bytes: %+v, want 413 and Connection: close", name, r)
		}
	}
}

func TestNoAccount(t *testing.T) {
	for name, c := range map[string]Config{
		"all empty":   {},
		"no secret":   {User: testUser, Pass: testPass},
		"no user":     {Pass: testPass, Secret: []byte(testSecret)},
		"no password": {User: testUser, Secret: []byte(testSecret)},
	} {
		t.Run(name, func(t *testing.T) {
			f := serveSite(t, c, map[string]string{"private/x": "x"})
			for _, body := range []string{credentials(c.User, c.Pass), credentials("", ""), "nonsense"} {
				if r := f.do("POST", "/api/login", "", body); r.Status != 403 || r.get("Set-Cookie") != "" {
					t.Errorf("login with %q: %+v, want 403", body, r)
				}
			}
			if r := f.get("/private/x"); r.Status != 403 {
				t.Errorf("/private/x: %+v", r)
			}
		})
	}
}
