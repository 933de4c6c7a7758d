package site

import (
	"strings"
	"testing"
)

// TestEarly sends requests that wait for 100 Continue. An answer that is certain from the
// head comes instead of it.
func TestEarly(t *testing.T) {
	files := map[string]string{"x.txt": "x", "private/x.txt": "x", "sub/index.html": "i", ".dot": "d"}
	const length, chunked = "Content-Length: 5", "Transfer-Encoding: chunked"
	sites := []*fixture{serveSite(t, withAccount(Config{}), files), serveSite(t, Config{}, files)}
	for _, tt := range []struct {
		method, target, length string
		want                   int // the status of the first response
		wantNoAccount          int // without an account; 0 if it is the same
	}{
		{"PUT", "/x.txt", length, 405, 0},
		{"POST", "/x.txt", chunked, 405, 0},
		{"TRACE", "/healthz", length, 405, 0},
		{"GET", "/echo", length, 405, 0},
		{"PUT", "/api/login", length, 405, 0},
		{"DELETE", "/api/logout", length, 405, 0},
		{"GET", "/nothing", length, 404, 0},
		{"POST", "/.dot", chunked, 404, 0},
		{"POST", "/api/nothing", length, 404, 0},
		{"POST", "/private/x.txt", length, 403, 0},
		{"GET", "/private/x.txt", chunked, 403, 0},
		{"BREW", "/x.txt", length, 501, 0},
		{"POST", "/api/login", "Content-Length: 4097", 413, 0},
		{"POST", "/api/login", "Content-Length: 4096", 100, 403},
		{"POST", "/api/login", chunked, 100, 403},
		{"POST", "/api/logout", length, 100, 0},
		{"POST", "/echo", length, 100, 0},
		{"GET", "/x.txt", length, 100, 0},
		{"GET", "/sub", length, 100, 0},
		{"OPTIONS", "/x.txt", length, 100, 0},
		{"OPTIONS", "*", length, 100, 0},
		{"GET", "/api/login", length, 100, 0},
	} {
		for _, f := range sites {
			f.dial()
			want := tt.want
			if !f.site.account.exists && tt.wantNoAccount != 0 {
				want = tt.wantNoAccount
			}
			r := f.do(tt.method, tt.target, "Expect: 100-continue", tt.length)
			if closes := r.get("Connection") == "close"; r.Status != want || closes != (want >= 400) {
				t.Errorf("%s %s, %s, account %v: %+v, want %d", tt.method, tt.target, tt.length, f.site.account.exists, r, want)
			}
		}
	}
	f := sites[0]
	f.dial()
	cookie := "Cookie: auth_jwt=" + f.token()
	if r := f.do("GET", "/private/x.txt", "Expect: 100-continue", length, cookie); r.Status != 100 {
		t.Errorf("with a token: %+v, want 100", r)
	}
	f.dial()
	if r := f.do("GET", "/private/nothing", "Expect: 100-continue", length, cookie); r.Status != 404 || strings.Contains(r.Body, "log in") {
		t.Errorf("with a token, a missing file: %+v, want 404", r)
	}
}
