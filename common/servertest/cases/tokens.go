package cases

import (
	"crypto"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"hash"
	"strings"
	"time"

	_ "crypto/sha512" // for tokens with HS384 and HS512

	"fourways.example/common/servertest/docroot"
	"fourways.example/common/servertest/process"
)

// These cases make tokens by RFC 7515 and RFC 7519, without the library that the servers use. Otherwise
// a bug in the library could go unnoticed.

const (
	secret      = "a secret for tests" // as in account
	hs256Header = `{"alg":"HS256","typ":"JWT"}`
)

func base64url(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }

// mac returns the third part of a token: the HMAC of the first two parts, in base64url.
func mac(h func() hash.Hash, key, signed string) string {
	m := hmac.New(h, []byte(key))
	m.Write([]byte(signed))
	return base64url(string(m.Sum(nil)))
}

// sign returns a token with this header and payload. It signs with HMAC-SHA256, whatever the header says.
func sign(key, header, payload string) string {
	signed := base64url(header) + "." + base64url(payload)
	return signed + "." + mac(sha256.New, key, signed)
}

// signedBy reports whether a token is a JWT that is signed with HS256 and this key.
func signedBy(key, token string) bool {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return false
	}
	head, err := base64.RawURLEncoding.DecodeString(parts[0])
	var header struct{ Alg, Typ string }
	if err != nil || json.Unmarshal(head, &header) != nil || header.Alg != "HS256" || header.Typ != "JWT" && header.Typ != "" {
		return false
	}
	return hmac.Equal([]byte(parts[2]), []byte(mac(sha256.New, key, parts[0]+"."+parts[1])))
}

// payload returns claims of user0 with this time of issue and this life.
func payload(issued time.Time, life time.Duration) string {
	return fmt.Sprintf(`{"sub":"user0","iat":%d,"exp":%d}`, issued.Unix(), issued.Add(life).Unix())
}

// wantRejected checks that the server accepts none of the tokens.
func wantRejected(t *T, tokens map[string]string) {
	t.Helper()
	for name, token := range tokens {
		wantAnonymous(t, name, "Cookie: auth_jwt="+token)
	}
}

// wantAnonymous checks that a client that sends these header fields is not logged in.
func wantAnonymous(t *T, name string, fields ...string) {
	t.Helper()
	askAll(t,
		ask{name: name + ", GET /api/login", target: "/api/login", fields: fields, want: 200, body: "{}", lacks: noCookie},
		ask{name: name + ", /private", target: "/private/secret.txt", fields: fields, want: 403},
		ask{name: name + ", /private, missing", target: "/private/nothing-there", fields: fields, want: 403},
	)
}

// wantUser checks that a client that sends these header fields is logged in as user0.
func wantUser(t *T, name string, fields ...string) {
	t.Helper()
	t.Sub(name, func(t *T) {
		c := t.Dial()
		var claims claimSet
		body := c.Request("GET", "/api/login", fields...).Want(200).Body
		if err := json.Unmarshal(body, &claims); err != nil || claims.Sub != "user0" {
			t.Errorf("GET /api/login returned %s%s", body, c.About(nil))
		}
		c.Request("GET", "/private/secret.txt", fields...).WantBody(200, docroot.Texts["private/secret.txt"])
		c.WantKept()
	})
}

func tokenCases() []Case {
	good := func() string { return sign(secret, hs256Header, payload(time.Now(), time.Hour)) }
	return []Case{
		{Name: "token-jwt", IDs: []string{"token-jwt"}, Env: account, Run: func(t *T) {
			resp := t.Dial().Post("/api/login", credentials).Want(200)
			token := cookieToken.FindStringSubmatch(resp.Get("Set-Cookie"))
			if token == nil || !signedBy(secret, token[1]) {
				t.Fatalf("want a JWT that is signed with HS256 and SECRET, got Set-Cookie: %s", resp.Get("Set-Cookie"))
			}
			middle, err := base64.RawURLEncoding.DecodeString(strings.Split(token[1], ".")[1])
			t.Must(err)
			var inside, told map[string]any
			t.Must(json.Unmarshal(middle, &inside))
			t.Must(json.Unmarshal(resp.Body, &told))
			if fmt.Sprint(inside) != fmt.Sprint(told) {
				t.Errorf("the response has the claims %v, the token has %v", told, inside)
			}
		}},
		{Name: "token-jwt-made-elsewhere", IDs: []string{"token-jwt", "env-secret"}, Env: account, Run: func(t *T) {
			now := time.Now()
			for name, token := range map[string]string{
				"like the server's own": good(),
				"alg after typ":         sign(secret, `{"typ":"JWT","alg":"HS256"}`, payload(now, time.Hour)),
				"without typ":           sign(secret, `{"alg":"HS256"}`, payload(now, time.Hour)),
				"white space":           sign(secret, " { \"alg\" : \"HS256\" }\n", "\n{ \"exp\": "+fmt.Sprint(now.Add(time.Hour).Unix())+", \"sub\": \"user0\" } "),
				"made an hour ago":      sign(secret, hs256Header, payload(now.Add(-time.Hour), 2*time.Hour)),
				"valid for 100 years":   sign(secret, hs256Header, payload(now, 100*365*24*time.Hour)),
			} {
				wantUser(t, name, "Cookie: auth_jwt="+token)
			}
		}},
		{Name: "token-none", IDs: []string{"token-none"}, Env: account, Run: func(t *T) {
			tokens := map[string]string{}
			for _, alg := range []string{"none", "None", "NONE", "nOnE", ""} {
				header := fmt.Sprintf(`{"alg":%q,"typ":"JWT"}`, alg)
				bare := base64url(header) + "." + base64url(payload(time.Now(), time.Hour))
				tokens[alg+", no signature"] = bare + "."
				tokens[alg+", no dot"] = bare
				tokens[alg+", signed"] = sign(secret, header, payload(time.Now(), time.Hour))
				tokens[alg+", signed with an empty key"] = sign("", header, payload(time.Now(), time.Hour))
				tokens[alg+", any signature"] = bare + ".x"
			}
			wantRejected(t, tokens)
		}},
		{Name: "token-alg", IDs: []string{"token-alg", "token-crit"}, Env: account, Run: func(t *T) {
			claims := payload(time.Now(), time.Hour)
			tokens := map[string]string{}
			for _, alg := range []string{"HS384", "HS512", "RS256", "ES256", "PS256", "EdDSA", "hs256", "HS256 ", "HS1", "HMAC", "dir"} {
				tokens[alg+", signed as HS256"] = sign(secret, fmt.Sprintf(`{"alg":%q,"typ":"JWT"}`, alg), claims)
			}
			for alg, h := range map[string]crypto.Hash{"HS384": crypto.SHA384, "HS512": crypto.SHA512, "HS224": crypto.SHA224, "HS256": crypto.SHA512} {
				signed := base64url(fmt.Sprintf(`{"alg":%q,"typ":"JWT"}`, alg)) + "." + base64url(claims)
				tokens[alg+", signed with "+h.String()] = signed + "." + mac(h.New, secret, signed)
			}
			key, err := rsa.GenerateKey(rand.Reader, 2048)
			t.Must(err)
			signed := base64url(`{"alg":"RS256","typ":"JWT"}`) + "." + base64url(claims)
			sum := sha256.Sum256([]byte(signed))
			sig, err := rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA256, sum[:])
			t.Must(err)
			tokens["RS256, signed"] = signed + "." + base64url(string(sig))
			for name, header := range map[string]string{
				"no alg": `{"typ":"JWT"}`, "alg is null": `{"alg":null}`, "alg is a number": `{"alg":256}`, "alg is a list": `{"alg":["HS256"]}`,
				"the header is empty": `{}`, "the header is null": `null`, "the header is a list": `["HS256"]`, "the header is nonsense": `HS256`, "no header": ``,
			} {
				tokens[name] = sign(secret, header, claims)
			}
			wantRejected(t, tokens)
			wantRejected(t, map[string]string{ // RFC 7515 §4.1.11
				"crit":         sign(secret, `{"alg":"HS256","crit":["x"],"x":1}`, claims),
				"crit for b64": sign(secret, `{"alg":"HS256","b64":false,"crit":["b64"]}`, claims),
			})
		}},
		{Name: "token-tampered", IDs: []string{"token-tampered", "env-secret"}, Env: account, Run: func(t *T) {
			now := time.Now()
			token := good()
			wantUser(t, "untouched", "Cookie: auth_jwt="+token)
			parts := strings.Split(token, ".")
			head, body, sig := parts[0], parts[1], parts[2]
			raw, err := base64.RawURLEncoding.DecodeString(sig)
			t.Must(err)
			other := map[byte]string{'A': "B"}[sig[0]]
			if other == "" {
				other = "A"
			}
			tokens := map[string]string{
				"another secret":               sign("another secret", hs256Header, payload(now, time.Hour)),
				"no secret":                    sign("", hs256Header, payload(now, time.Hour)),
				"the secret and a space":       sign(secret+" ", hs256Header, payload(now, time.Hour)),
				"the password as the secret":   sign("thepassword", hs256Header, payload(now, time.Hour)),
				"a longer life":                head + "." + base64url(payload(now, 1000*time.Hour)) + "." + sig,
				"another name":                 head + "." + base64url(strings.Replace(payload(now, time.Hour), "user0", "user1", 1)) + "." + sig,
				"another header":               base64url(`{"typ":"JWT","alg":"HS256"}`) + "." + body + "." + sig,
				"another signature":            head + "." + body + "." + other + sig[1:],
				"another last byte":            head + "." + body + "." + base64url(string(raw[:31])+string(raw[31]^1)),
				"a signature one byte short":   head + "." + body + "." + base64url(string(raw[:31])),
				"a signature one byte long":    head + "." + body + "." + base64url(string(raw)+"\x00"),
				"half of the signature":        head + "." + body + "." + sig[:21],
				"one character less":           head + "." + body + "." + sig[:42],
				"one character more":           head + "." + body + "." + sig + "A",
				"no signature":                 head + "." + body + ".",
				"no dot and no signature":      head + "." + body,
				"the header alone":             head,
				"the payload alone":            body,
				"no payload":                   head + ".." + sig,
				"no header":                    "." + body + "." + sig,
				"only dots":                    "..",
				"a dot":                        ".",
				"a fourth part":                token + ".x",
				"a fourth, empty part":         token + ".",
				"a dot before it":              "." + token,
				"a signature of zeros":         head + "." + body + "." + base64url(strings.Repeat("\x00", 32)),
				"the parts in reverse order":   sig + "." + body + "." + head,
				"in hex":                       head + "." + body + "." + fmt.Sprintf("%x", raw),
				"a byte after it":              token + "x",
				"a byte before it":             "x" + token,
				"in capitals":                  strings.ToUpper(token),
				"escaped":                      strings.ReplaceAll(token, ".", "%2E"),
				"a space in it":                head + ". " + body + "." + sig,
				"the JSON form":                `{"payload":"` + body + `"}`,
				"Bearer":                       "Bearer " + token,
				"signed over the payload only": head + "." + body + "." + mac(sha256.New, secret, body),
				"signed over the JSON itself":  head + "." + body + "." + mac(sha256.New, secret, hs256Header+"."+payload(now, time.Hour)),
			}
			wantRejected(t, tokens)
			wantUser(t, "untouched, again", "Cookie: auth_jwt="+token)
		}},
		{Name: "token-expired", IDs: []string{"token-expired"}, Env: account, Run: func(t *T) {
			now := time.Now()
			wantRejected(t, map[string]string{
				"a second ago":         sign(secret, hs256Header, payload(now.Add(-time.Hour), time.Hour-time.Second)),
				"a day ago":            sign(secret, hs256Header, payload(now.AddDate(0, 0, -2), 24*time.Hour)),
				"in 1970":              sign(secret, hs256Header, `{"sub":"user0","iat":0,"exp":1}`),
				"at time 0":            sign(secret, hs256Header, `{"sub":"user0","iat":0,"exp":0}`),
				"before 1970":          sign(secret, hs256Header, `{"sub":"user0","iat":0,"exp":-1}`),
				"before it was issued": sign(secret, hs256Header, payload(now, -time.Hour)),
			})
		}},
		{Name: "token-expires", IDs: []string{"token-expired", "cli-expire"}, Env: account, Flags: []string{"-e", "1"}, Run: func(t *T) {
			// Times are whole seconds, so a token may expire within less than a second. The server must
			// accept one of five tokens before it expires.
			for try := 1; !expires(t); try++ {
				if try == 5 {
					t.Fatalf("with -e 1 the server accepted none of five tokens")
				}
			}
		}},
		{Name: "token-no-exp", IDs: []string{"token-no-exp"}, Env: account, Run: func(t *T) {
			soon := time.Now().Add(time.Hour).Unix()
			tokens := map[string]string{}
			for name, claims := range map[string]string{
				"none":                    `{"sub":"user0","iat":1700000000}`,
				"null":                    `{"sub":"user0","exp":null}`,
				"a word":                  `{"sub":"user0","exp":"never"}`,
				"a number in quotes":      fmt.Sprintf(`{"sub":"user0","exp":"%d"}`, soon),
				"true":                    `{"sub":"user0","exp":true}`,
				"a list":                  fmt.Sprintf(`{"sub":"user0","exp":[%d]}`, soon),
				"an object":               fmt.Sprintf(`{"sub":"user0","exp":{"exp":%d}}`, soon),
				"in another claim":        fmt.Sprintf(`{"sub":"user0","x":{"exp":%d}}`, soon),
				"the claims are empty":    `{}`,
				"the claims are null":     `null`,
				"the claims are a list":   fmt.Sprintf(`["user0",%d]`, soon),
				"the claims are text":     `user0`,
				"the claims are nothing":  ``,
				"the claims are cut":      fmt.Sprintf(`{"sub":"user0","exp":%d`, soon),
				"a byte after the claims": fmt.Sprintf(`{"sub":"user0","exp":%d}x`, soon),
			} {
				tokens[name] = sign(secret, hs256Header, claims)
			}
			wantRejected(t, tokens)
		}},
		{Name: "token-cookie-name", IDs: []string{"token-cookie-name"}, Env: account, Run: func(t *T) {
			token := good()
			pair := "auth_jwt=" + token
			for name, cookie := range map[string]string{
				"alone":                        pair,
				"last":                         "a=b; c=d; " + pair,
				"first":                        pair + "; a=b; c=d",
				"in the middle":                "a=b; " + pair + "; c=d",
				"no space after ;":             "a=b;" + pair + ";c=d",
				"more spaces":                  "a=b;  \t" + pair + "  ; c=d",
				"; at the end":                 pair + ";",
				"; at the start":               "; " + pair,
				"empty cookies":                "a=; =b; ;; =; " + pair,
				"cookies without =":            "flag; auth_jwt; " + pair,
				"odd names":                    "!!!!=x; ~~~~=y; $Version=1; %=%; #'*+-.^_`|=z; " + pair,
				"names with the same end":      "prefix_auth_jwt=wrong; xauth_jwt=wrong; " + pair,
				"names with the same start":    "auth_jwt_suffix=wrong; auth_jwtx=wrong; auth_jw=wrong; " + pair,
				"names in another letter case": "AUTH_JWT=wrong; Auth_Jwt=wrong; " + pair,
				"its name as a value":          "a=auth_jwt; b=auth_jwt=wrong; " + pair,
				"values with =":                "a=b=c==; d==; " + pair,
				"values in quotes":             `a="b c"; ` + pair,
				"high bytes":                   "\xc3\xa4=\xff\x80; " + pair,
				"other characters":             `a=b,c; d=e\f; {"x":1}=[]; ` + pair,
				"the token in quotes":          `auth_jwt="` + token + `"`,
				"100 others before it":         strings.Repeat("name=value; ", 100) + pair,
				"50,000 bytes before it":       "big=" + strings.Repeat("x", 50_000) + "; " + pair,
				"50,000 bytes after it":        pair + "; big=" + strings.Repeat("x", 50_000),
				"50,000 bytes of cookies":      strings.Repeat("a=b; ", 10_000) + pair,
			} {
				wantUser(t, name, "Cookie: "+cookie)
			}
			wantUser(t, "50,000 bytes in another field", "Cookie: "+pair, "X: "+strings.Repeat("x", 50_000))
			wantUser(t, "50,000 bytes in another Cookie", "Cookie: big="+strings.Repeat("x", 50_000), "Cookie: "+pair)
			wantUser(t, "another Cookie before it", "Cookie: a=b; prefix_auth_jwt=wrong", "Cookie: "+pair)
			wantUser(t, "another Cookie after it", "Cookie: "+pair, "Accept: */*", "Cookie: a=b")
			wantUser(t, "a field name in lower case", "cookie: a=b; "+pair)
			wantUser(t, "no space after the colon", "Cookie:"+pair)

			for name, cookie := range map[string]string{
				"prefix_auth_jwt": "prefix_" + pair, "xauth_jwt": "x" + pair, "auth_jwt_suffix": "auth_jwt_suffix=" + token, "AUTH_JWT": "AUTH_JWT=" + token,
				"Auth_jwt": "Auth_jwt=" + token, "auth-jwt": "auth-jwt=" + token, "auth_jw": "auth_jw=" + token, "jwt": "jwt=" + token, "no name": "=" + token,
				"no name and no =": token, "!!!!": "!!!!=" + token, "in the value of another": "a=" + pair, "in quotes": `"` + pair + `"`,
				"after a comma": "a=b," + pair, "in the quotes of another": `a="` + "auth_jwt=" + token + `"`, "a colon instead of =": "auth_jwt:" + token,
				"$auth_jwt": "$" + pair, "escaped": "auth%5Fjwt=" + token,
			} {
				wantAnonymous(t, name, "Cookie: "+cookie)
			}
			wantAnonymous(t, "other fields", "Set-Cookie: "+pair, "X-Cookie: "+pair, "Cookies: "+pair, "Authorization: Bearer "+token, "Cookie2: "+pair)
			wantAnonymous(t, "only other cookies", "Cookie: a=b; c=d")
		}},
		{Name: "token-query", IDs: []string{"token-cookie-name"}, Env: account, Run: func(t *T) {
			// A token in the URL does not count: URLs are logged, so it would not stay secret.
			token := good()
			askAll(t,
				ask{target: "/private/secret.txt?auth_jwt=" + token, want: 403},
				ask{target: "/api/login?auth_jwt=" + token, want: 200, body: "{}"},
			)
		}},
		{Name: "token-bad-cookie", IDs: []string{"token-bad-cookie"}, Env: account, Run: func(t *T) {
			values := map[string]string{
				"empty": "", "=": "=", "a quote": `"`, "two quotes": `""`, "nonsense": "nonsense", "dots": strings.Repeat(".", 1000), "high bytes": "\xff\xfe\x80",
				"a tab": "a\tb", "not base64": "!!!.@@@.###", "padded": "eyJ=.eyJ=.eyJ=", "standard base64": "+/+/.+/+/.+/+/", "NUL in base64": "AAAA.AAAA.AAAA",
				"50,000 bytes": strings.Repeat("x", 50_000), "50,000 bytes in parts": strings.Repeat("eyJ9.", 10_000),
				"a large payload":    base64url(hs256Header) + "." + strings.Repeat("eyJ9", 10_000) + ".x",
				"a deep payload":     base64url(hs256Header) + "." + base64url(strings.Repeat("[", 20_000)) + ".x",
				"a deep header":      sign(secret, strings.Repeat(`{"a":`, 5000), "{}"),
				"a number too large": sign("other", hs256Header, `{"exp":1e999}`),
			}
			for name, value := range values {
				wantAnonymous(t, name, "Cookie: auth_jwt="+value)
			}
			wantAnonymous(t, "no cookie at all", "Cookie:")
			wantAnonymous(t, "only ;", "Cookie: "+strings.Repeat(";", 1000))
			wantAnonymous(t, "only =", "Cookie: "+strings.Repeat("=", 1000))
			wantAnonymous(t, "the name alone", "Cookie: auth_jwt")
			wantAnonymous(t, "the name, many times", "Cookie: "+strings.Repeat("auth_jwt=x; ", 1000))
			// These tokens are signed with SECRET, but have odd claims. The server may accept them or not,
			// but it must answer.
			c := t.Dial()
			for _, claims := range []string{
				`{"sub":"user0","exp":1e300}`, `{"sub":"user0","exp":9223372036854775807}`, `{"sub":"user0","exp":99999999999999999999}`, `{"sub":5,"exp":4e9}`,
				`{"sub":"user0","exp":4000000000.5}`, `{"sub":"user0","exp":4e9,"nbf":5e9}`, `{"sub":"user0","exp":4e9,"iat":"x"}`, `{"exp":4e9}`,
			} {
				for target, also := range map[string]int{"/api/login": 200, "/private/secret.txt": 403} {
					resp := c.Request("GET", target, "Cookie: auth_jwt="+sign(secret, hs256Header, claims)).Read()
					if resp.Status != 200 && resp.Status != also {
						t.Errorf("the claims %s: %s is answered %d", claims, target, resp.Status)
					}
				}
			}
			c.WantKept()
		}},
		{Name: "token-no-account", IDs: []string{"env-no-account"}, NoServer: true, Run: func(t *T) {
			// Without an account no token is valid.
			for _, env := range [][]string{nil, {"SECRET=" + secret}, {"SECRET="}} {
				s := t.Begin(Config{Env: env})
				for _, key := range []string{secret, ""} {
					token := sign(key, hs256Header, payload(time.Now(), time.Hour))
					unnamed := sign(key, hs256Header, strings.Replace(payload(time.Now(), time.Hour), "user0", "", 1))
					for _, token := range []string{token, unnamed} {
						askAllOf(t, s,
							ask{target: "/private/secret.txt", fields: []string{"Cookie: auth_jwt=" + token}, want: 403},
							ask{target: "/api/login", fields: []string{"Cookie: auth_jwt=" + token}, want: 200, body: "{}"},
						)
					}
				}
			}
		}},
		{Name: "token-empty-secret", IDs: []string{"env-secret-random"}, NoServer: true, Run: func(t *T) {
			// An empty SECRET is not used as a key: anybody could sign with it.
			for _, env := range [][]string{account[:2], {account[0], account[1], "SECRET="}} {
				s := t.Begin(Config{Env: env})
				token := sign("", hs256Header, payload(time.Now(), time.Hour))
				askAllOf(t, s,
					ask{target: "/private/secret.txt", fields: []string{"Cookie: auth_jwt=" + token}, want: 403},
					ask{target: "/api/login", fields: []string{"Cookie: auth_jwt=" + token}, want: 200, body: "{}"},
				)
				if out := s.Stdout.String(); strings.Count(out, "SECRET") != 1 {
					t.Errorf("%q: want one line about SECRET on stdout, got:%s", env[2:], process.Indent(out))
				}
				// The server accepts the tokens that it signs with its random secret.
				askAllOf(t, s, ask{target: "/private/secret.txt", fields: []string{"Cookie: " + loggedIn(t, s)}, want: 200, body: docroot.Texts["private/secret.txt"]})
			}
		}},
	}
}

// expires logs in to a server whose tokens live for one second, and uses the token until the server
// rejects it. It reports whether the server accepted the token before.
func expires(t *T) (opened bool) {
	c := t.Dial()
	defer c.Close()
	resp := c.Post("/api/login", credentials).Want(200)
	claims := claimsOf(t, resp)
	if claims.Exp-claims.Iat != 1 || !strings.Contains(resp.Get("Set-Cookie"), "; Max-Age=1;") {
		t.Errorf("with -e 1 the claims are %+v and Set-Cookie: %s", claims, resp.Get("Set-Cookie"))
	}
	cookie, _, _ := strings.Cut(resp.Get("Set-Cookie"), ";")
	ends := time.Unix(claims.Exp, 0)
	for { // always the same token, so that the server may have it in a cache
		asked := time.Now()
		resp := c.Request("GET", "/private/secret.txt", "Cookie: "+cookie).Read()
		answered := time.Now()
		switch {
		case resp.Status == 200 && asked.After(ends.Add(50*time.Millisecond)):
			t.Fatalf("the token is still accepted %v after its end", asked.Sub(ends))
		case resp.Status == 200:
			opened = true
		case resp.Status != 403:
			t.Fatalf("answered %d, want 200 or 403", resp.Status)
		case answered.Before(ends):
			t.Fatalf("the token is rejected %v before its end", ends.Sub(answered))
		default:
			c.Request("GET", "/api/login", "Cookie: "+cookie).WantBody(200, "{}")
			c.WantKept()
			return opened
		}
		<-time.After(5 * time.Millisecond)
	}
}
