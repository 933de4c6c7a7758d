package cases

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"time"

	"fourways.example/common/servertest/docroot"
	"fourways.example/common/servertest/wire"
)

// A claimSet holds the claims of a token.
type claimSet struct {
	Sub      string
	Iat, Exp int64
}

// claimsOf parses a response, which must be an object with exactly these three claims.
func claimsOf(t *T, resp *Response) (c claimSet) {
	t.Helper()
	if kind := resp.Get("Content-Type"); kind != "application/json" && !mayLack(t, resp, "Content-Type") {
		t.Errorf("the Content-Type of the claims is %q, want application/json", kind)
	}
	var object map[string]json.RawMessage
	err := json.Unmarshal(resp.Body, &object)
	if err == nil && len(object) == 3 {
		for name, to := range map[string]any{"sub": &c.Sub, "iat": &c.Iat, "exp": &c.Exp} {
			if err = json.Unmarshal(object[name], to); err != nil {
				break
			}
		}
	}
	if err != nil || len(object) != 3 {
		t.Fatalf("%q is not an object with sub, iat and exp: %v", resp.Body, err)
	}
	return c
}

// noCookie names the header field that a response without a new cookie must not have.
var noCookie = []string{"Set-Cookie"}

func loginCases() []Case {
	post := func(body string, want int, fields ...string) ask {
		a := ask{name: wire.Quote(body) + " " + strings.Join(fields, " "), method: "POST", target: "/api/login", send: body, fields: fields, want: want}
		if want != 200 {
			a.lacks = noCookie
		}
		return a
	}
	emptyObject := ask{target: "/api/login", want: 200, body: "{}", has: []string{"Content-Type: application/json"}, lacks: noCookie}
	return []Case{
		{Name: "api-login-get", IDs: []string{"api-login-get"}, Env: account, Run: func(t *T) {
			askAll(t, emptyObject, ask{target: "/api/login?x", want: 200, body: "{}"})
		}},
		{Name: "api-login-get-no-account", IDs: []string{"api-login-get"}, Run: func(t *T) { askAll(t, emptyObject) }},
		{Name: "api-login-get-claims", IDs: []string{"api-login-get-claims", "api-login-post"}, Env: account, Run: func(t *T) {
			c := t.Dial()
			resp := c.Post("/api/login", credentials).Want(200)
			want := claimsOf(t, resp)
			cookie, _, _ := strings.Cut(resp.Get("Set-Cookie"), ";")
			for range 2 { // the second time the server may have the token in a cache
				again := c.Request("GET", "/api/login", "Cookie: "+cookie).Want(200)
				if got := claimsOf(t, again); got != want {
					t.Errorf("the login returned the claims %v, GET returned %v", want, got)
				}
				if again.Get("Set-Cookie") != "" {
					t.Errorf("a GET sets a cookie")
				}
			}
			askOne(c, emptyObject) // a login does not belong to the connection
			other := claimsOf(t, c.Request("GET", "/api/login", "Cookie: "+cookie).Want(200))
			if other != want {
				t.Errorf("the login returned the claims %v, a later GET returned %v", want, other)
			}
			c.WantKept()
		}},
		{Name: "api-login-claims", IDs: []string{"api-login-claims", "api-login-post"}, Env: account, Run: func(t *T) {
			c := t.Dial()
			before := time.Now().Unix()
			claims := claimsOf(t, c.Post("/api/login", credentials).Want(200))
			after := time.Now().Unix()
			if claims.Sub != "user0" || claims.Iat < before || claims.Iat > after || claims.Exp != claims.Iat+86400 {
				t.Errorf("the claims of a login between %d and %d are %+v", before, after, claims)
			}
			c.WantKept()
		}},
		{Name: "api-login-cookie", IDs: []string{"api-login-cookie"}, Env: account, Run: func(t *T) { checkCookie(t, 86400) }},
		{Name: "api-login-cookie-expire", IDs: []string{"api-login-cookie", "cli-expire"}, Env: account, Flags: []string{"-e", "1234"}, Run: func(t *T) {
			checkCookie(t, 1234)
		}},
		{Name: "api-login-any-order", IDs: []string{"api-login-any-order"}, Env: account, Run: func(t *T) {
			const form = "Content-Type: application/x-www-form-urlencoded"
			askAll(t,
				post(`{"username": "user0", "password": "thepassword"}`, 200),
				post(`{"password": "thepassword", "username": "user0"}`, 200),
				post(`{"username":"user0","password":"thepassword"}`, 200),
				post("\r\n\t {\n\"username\"\r:\t\"user0\" ,\"password\":\"thepassword\"}\n\n ", 200),
				post(`{"a": 1, "username": "user0", "b": {"username": "x", "c": [{}]}, "password": "thepassword", "d": null}`, 200),
				post(`{"Username": "x", "PASSWORD": "y", "username": "user0", "password": "thepassword", "userName": 5}`, 200),
				post(`{"username": "user0", "password": "thepassword", "Username": "x", "Password": 7}`, 200),
				post(`{"\u0075sername": "user\u0030", "password": "the\u0070assword"}`, 200),
				post(credentials, 200, "Content-Type: application/json"),
				post(credentials, 200, "Content-Type: application/json; charset=utf-8"),
				post(credentials, 200, "Content-Type: text/plain"),
				post(credentials, 200, form),
				post(credentials, 200, "Content-Type: x"),
				post(`{"x": "`+strings.Repeat("y", 3000)+`", "username": "user0", "password": "thepassword"}`, 200),
				post(`{"x": `+strings.Repeat("[", 100)+strings.Repeat("]", 100)+`, "username": "user0", "password": "thepassword"}`, 200),
				// A bad cookie does not prevent a login.
				post(credentials, 200, "Cookie: auth_jwt=nonsense"),
			)
			c := t.Dial()
			for _, chunks := range []string{
				chunk(fmt.Sprintf("%x", len(credentials)), credentials),
				chunk("a", credentials[:10]) + chunk("1;x=y", credentials[10:11]) + chunk(fmt.Sprintf("%x", len(credentials)-11), credentials[11:]),
			} {
				c.Send("POST /api/login HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks + last)
				if claims := claimsOf(t, c.Want(200)); claims.Sub != "user0" {
					t.Errorf("chunked: the claims are %+v", claims)
				}
			}
			c.WantKept()
		}},
		{Name: "api-login-wrong", IDs: []string{"api-login-wrong", "keep-403"}, Env: account, Run: func(t *T) {
			login := func(user, pass string) ask {
				body, err := json.Marshal(map[string]string{"username": user, "password": pass})
				t.Must(err)
				return post(string(body), 403)
			}
			askAll(t,
				login("user0", "wrong"), login("user0", ""), login("", "thepassword"), login("", ""), login("user0", "thepasswor"), login("user0", "thepassword "),
				login("user0", "Thepassword"), login("User0", "thepassword"), login("user", "thepassword"), login("user00", "thepassword"),
				login("thepassword", "user0"), login("user0\x00", "thepassword"), login("user0", "thepassword\x00"), login("user0thepassword", ""),
				login("user0", strings.Repeat("thepassword", 300)), login(" user0", "thepassword"), login("*", "*"), login("admin", "admin"),
			)
			// A valid token does not help a login with a wrong password.
			askAll(t, post(`{"username": "user0", "password": "wrong"}`, 403, "Cookie: "+loggedIn(t, t.Server)))
		}},
		{Name: "api-login-bad-json", IDs: []string{"api-login-bad-json"}, Env: account, Run: func(t *T) {
			var asks []ask
			for _, body := range []string{
				"", " ", "x", "null", "true", "5", `"user0"`, "[]", "{}", "{", "}", `["user0", "thepassword"]`, `[{"username": "user0", "password": "thepassword"}]`,
				`{"username": "user0"}`, `{"password": "thepassword"}`, `{"username": "user0", "password": null}`, `{"username": null, "password": null}`,
				`{"username": 5, "password": "thepassword"}`, `{"username": "user0", "password": 5}`, `{"username": "user0", "password": true}`,
				`{"username": ["user0"], "password": "thepassword"}`, `{"username": {"a": "user0"}, "password": "thepassword"}`,
				`{"Username": "user0", "Password": "thepassword"}`, `{"USERNAME": "user0", "password": "thepassword"}`, `{"user": "user0", "pass": "thepassword"}`,
				`{"username": "user0", "password": "thepassword"`, `{"username": "user0", "password": "thepassword}`, `{"username": "user0" "password": "thepassword"}`,
				`{"username": "user0", "password": "thepassword",}`, `{'username': 'user0', 'password': 'thepassword'}`, `{username: "user0", password: "thepassword"}`,
				credentials + "x", credentials + credentials, credentials + ",", "x" + credentials, "\x00" + credentials, credentials + "\x00",
				`{"username": "user0", "password": "thepass` + "\n" + `word"}`, `{"username": "user0", "password": "thepassword\x"}`, `{"username": "user0", "password": "\u12"}`,
				"username=user0&password=thepassword", "user0:thepassword", `{"username": "user0", "password": "thepassword", "x": 01}`,
				`{"username": "user0", "password": "thepassword", "x": }`, `{"username": "user0", "password": "thepassword", "x": tru}`,
				strings.Repeat("[", 4096), strings.Repeat(`{"a":`, 800), strings.Repeat("x", 4096),
			} {
				asks = append(asks, post(body, 400))
			}
			askAll(t, asks...)
			c := t.Dial()
			c.Request("POST", "/api/login").Want(400) // no body
			c.Send("POST /api/login HTTP/1.1\r\nHost: h\r\n\r\n").Want(400)
			c.Send("POST /api/login HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n" + last).Want(400)
			c.Send("POST /api/login HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk("3", "{\"u") + last).Want(400)
			c.WantKept()
		}},
		{Name: "api-login-413", IDs: []string{"api-login-413", "refuse-413"}, Env: account, Run: func(t *T) {
			login := func(n int) string { return credentials + strings.Repeat(" ", n-len(credentials)) }
			send := func(body string) string { return wire.Request("POST", "/api/login", body) }
			inChunks := func(body string) string {
				return "POST /api/login HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk(fmt.Sprintf("%x", len(body)), body) + last
			}
			keys := "{" + strings.Repeat(`"a":0,`, 99_000) + credentials[1:]
			exchange(t,
				ok("4096 bytes", send(login(4096))),
				ok("4096 bytes, chunked", inChunks(login(4096))),
				row{name: "4097 bytes", send: send(login(4097)), want: 413},
				row{name: "4097 bytes, chunked", send: inChunks(login(4097)), want: 413},
				row{name: "4097 bytes that are not JSON", send: send(strings.Repeat("x", 4097)), want: 413},
				row{name: "99,000 keys", send: send(keys), want: 413},
				row{name: "1 MiB", send: send(login(mib)), want: 413},
			)
			c := t.Dial()
			c.Send(send(login(4097))).AwaitFIN()
			c.Send(strings.Repeat("x", 100_000)).AwaitRead()
			if resp := c.WantRefused(413); resp.Get("Set-Cookie") != "" {
				t.Errorf("a login of 4097 bytes is refused, but sets a cookie")
			}
		}},
		{Name: "api-login-413-no-account", IDs: []string{"api-login-413"}, Run: func(t *T) {
			exchange(t, row{name: "4097 bytes", send: wire.Request("POST", "/api/login", strings.Repeat("x", 4097)), want: 413})
		}},
		{Name: "api-login-account", IDs: []string{"env-account", "api-login-post", "env-secret"}, NoServer: true, Run: func(t *T) {
			// Names, passwords and secrets may hold any bytes that an environment variable can hold.
			for _, a := range []struct{ user, pass, secret string }{
				{"Jörg \"Quote\" \\", "p=a;s s,w&\"ö\\rd", "s"},
				{"x", "y", strings.Repeat("a long secret ", 100)},
				{"<script>\u2028", "  blanks  ", "=;=\"'"},
			} {
				s := t.Begin(Config{Env: []string{"USER_NAME=" + a.user, "USER_PASS=" + a.pass, "SECRET=" + a.secret}})
				body, err := json.Marshal(map[string]string{"username": a.user, "password": a.pass})
				t.Must(err)
				c := t.DialTo(s, DialOptions{})
				resp := c.Post("/api/login", string(body)).Want(200)
				if claims := claimsOf(t, resp); claims.Sub != a.user {
					t.Errorf("logged in as %q, but the claim sub is %q", a.user, claims.Sub)
				}
				if token := cookieToken.FindStringSubmatch(resp.Get("Set-Cookie")); token == nil || !signedBy(a.secret, token[1]) {
					t.Errorf("the token is not signed with SECRET %q: %s", a.secret, resp.Get("Set-Cookie"))
				}
				c.Post("/api/login", credentials).Want(403)
				c.WantKept()
				c.Close()
			}
		}},
		{Name: "api-login-methods", IDs: []string{"api-login-methods", "method-options"}, Env: account, Run: func(t *T) {
			methods(t, "/api/login", "GET", "HEAD", "POST")
			methods(t, "/api/logout", "POST")
		}},
		{Name: "api-logout", IDs: []string{"api-logout"}, Env: account, Run: func(t *T) {
			for _, fields := range [][]string{nil, {"Cookie: " + loggedIn(t, t.Server)}, {"Cookie: auth_jwt=nonsense"}} {
				t.Sub(fmt.Sprint(fields), func(t *T) {
					c := t.Dial()
					resp := c.Post("/api/logout", "", fields...).Want(200)
					wantAttributes(t, resp, "", 0)
					c.Post("/api/logout", "a body that is dropped", fields...).Want(200)
					c.WantKept()
				})
			}
		}},
		{Name: "api-logout-no-account", IDs: []string{"api-logout"}, Run: func(t *T) {
			c := t.Dial()
			wantAttributes(t, c.Post("/api/logout", "").Want(200), "", 0)
			c.WantKept()
		}},
	}
}

// cookieToken matches a Set-Cookie with a token.
var cookieToken = regexp.MustCompile(`^auth_jwt=([A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+);`)

// checkCookie logs in and checks the cookie. life is the life of its token in seconds.
func checkCookie(t *T, life int) {
	c := t.Dial()
	resp := c.Post("/api/login", credentials).Want(200)
	token := cookieToken.FindStringSubmatch(resp.Get("Set-Cookie"))
	if token == nil {
		t.Fatalf("no token in Set-Cookie: %s", resp.Get("Set-Cookie"))
	}
	wantAttributes(t, resp, token[1], life)
	claims := claimsOf(t, resp)
	if claims.Exp-claims.Iat != int64(life) {
		t.Errorf("the claims of the token are %+v, want a life of %d s", claims, life)
	}
	c.Request("GET", "/private/secret.txt", "Cookie: auth_jwt="+token[1]).WantBody(200, docroot.Texts["private/secret.txt"])
	c.WantKept()
}

// wantAttributes checks that the response has exactly one Set-Cookie with this token and life.
func wantAttributes(t *T, resp *Response, token string, life int) {
	t.Helper()
	want := fmt.Sprintf("auth_jwt=%s; Path=/; Max-Age=%d; HttpOnly; SameSite=Lax", token, life)
	if got := resp.Values("Set-Cookie"); len(got) != 1 || got[0] != want {
		t.Errorf("Set-Cookie: %q, want %q", got, want)
	}
}

// methods checks that a resource allows only the methods in has, and OPTIONS.
func methods(t *T, target string, has ...string) {
	t.Helper()
	known := map[string]bool{}
	for _, method := range has {
		known[method] = true
	}
	want := append([]string{"OPTIONS"}, has...)
	for _, method := range []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "TRACE", "OPTIONS"} {
		if known[method] {
			continue
		}
		t.Sub(method+" "+target, func(t *T) {
			status, body := 405, "not wanted"
			if method == "OPTIONS" {
				status, body = 204, ""
			}
			c := t.Dial()
			allow(t, c.Send(wire.Request(method, target, body)).WantTo(method, status), want...)
			c.WantKept()
		})
	}
}
