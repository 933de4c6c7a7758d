package site

import "testing"

func TestClassify(t *testing.T) {
	for _, tt := range []struct {
		path         string
		private, bad bool
	}{
		{"/", false, false},
		{"/index.html", false, false},
		{"/dir/", false, false},
		{"/dir/file", false, false},
		{"/a..b/c.", false, false},
		{"/%2e%2e/x", false, false}, // h1 has decoded once: these are literal percent signs
		{"/x/private", false, false},
		{"/x/private/y", false, false},
		{"/privat", false, false},
		{"/privateer", false, false},
		{"/private.html", false, false},
		{"/Private", false, false},

		{"/..", false, true},
		{"/.", false, true},
		{"/x/../y", false, true},
		{"/x/./y", false, true},
		{"/x/..", false, true},
		{"/...", false, true},
		{"//", false, true},
		{"//x", false, true},
		{"/x//", false, true},
		{"/x//y", false, true},
		{"/.git/config", false, true},
		{"/x/.hidden", false, true},
		{"/.hidden/", false, true},
		{"/.well-known", false, false},
		{"/.well-known/", false, false},
		{"/.well-known/acme", false, false},
		{"/.well-known/.x", false, true},
		{"/x/.well-known/y", false, true},
		{"//.well-known/y", false, true},
		{"/.well-knownx", false, true},

		{"/private", true, false},
		{"/private/", true, false},
		{"/private/x/y", true, false},
		{"/private/.x", true, true},
		{"/private//x", true, true},
		{"//private", false, true},
		{"///private/x", false, true},
		{"/./private/x", false, true},
		{"/.//./private/x", false, true},
		{"/x/../private/s", false, true},
		{"/x/y/../../private/s", false, true},
		{"/.x/../private/s", false, true},
		{"/../private/s", false, true},
		{"/x/y/../private/s", false, true},
		{"/../../private/s", false, true},
		{"/private/../x", true, true}, // it begins with /private/
		{"/private/..", true, true},
		{"/private/./x", true, true},
		{"/private/sub/../x", true, true},
		{"/private//", true, true},
		{"/private/../../private/x", true, true},
		{"/x/../y/private", false, true},
	} {
		private, bad := classify([]byte(tt.path))
		if private != tt.private || bad != tt.bad {
			t.Errorf("classify(%q) = private %v, bad %v; want %v, %v", tt.path, private, bad, tt.private, tt.bad)
		}
	}
}

func TestEscape(t *testing.T) {
	for _, tt := range []struct{ path, query, want string }{
		{"/dir", "", "/dir"},
		{"/a b/c%d", "", "/a%20b/c%25d"},
		{"/a?b#c", "", "/a%3Fb%23c"},
		{"/gr\u00fc\u00dfe", "", "/gr%C3%BC%C3%9Fe"},
		{`/\evil.example`, "", "/%5Cevil.example"},
		{"/~x-._!$&'()*+,;=:@", "", "/~x-._!$&'()*+,;=:@"},
		{"/", "a=b&c=%20?/", "/?a=b&c=%20?/"},
		{"/", `"<>^{|}\`, "/?%22%3C%3E%5E%7B%7C%7D%5C"},
	} {
		got := string(appendEscaped(nil, []byte(tt.path)))
		if tt.query != "" {
			got = string(appendQuery([]byte(got+"?"), []byte(tt.query)))
		}
		if got != tt.want {
			t.Errorf("escaped %q, %q = %q, want %q", tt.path, tt.query, got, tt.want)
		}
	}
}

func TestInPrivate(t *testing.T) {
	for _, tt := range []struct {
		root, path string
		want       bool
	}{
		{"/srv/www", "/srv/www", false},
		{"/srv/www", "/srv/www/index.html", false},
		{"/srv/www", "/srv/www/privateer/x", false},
		{"/srv/www", "/srv/www/x/private/y", false},
		{"/srv/www", "/srv/www/private", true},
		{"/srv/www", "/srv/www/private/x", true},
		{"/srv/www", "/srv/www/private/x (deleted)", true},
		{"/srv/www", "/srv/www/private (deleted)", true},
		{"/srv/www", "/srv/www/x (deleted)", false},
		{"/srv/www", "/srv/wwwroot/x", true}, // outside of the root
		{"/srv/www", "/elsewhere", true},
		{"/", "/private/x", true},
		{"/", "/x", false},
		{"/", "/", false},
	} {
		if got := inPrivate(tt.root, tt.path); got != tt.want {
			t.Errorf("inPrivate(%q, %q) = %v, want %v", tt.root, tt.path, got, tt.want)
		}
	}
}

func TestTypeOf(t *testing.T) {
	for name, want := range map[string]string{
		"index.html":    "text/html; charset=utf-8",
		"a/b.CSS":       "text/css; charset=utf-8",
		"x.mp4":         "video/mp4",
		"x.json":        "application/json",
		"x.tar.gz":      "application/gzip",
		"dir.html/file": otherType,
		"README":        otherType,
		"x.":            otherType,
		"x.html~":       otherType,
	} {
		if got := typeOf(name); got != want {
			t.Errorf("typeOf(%q) = %q, want %q", name, got, want)
		}
	}
}
