package cases

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"fourways.example/common/servertest/docroot"
	"fourways.example/common/servertest/kernel"
	"fourways.example/common/servertest/wire"
)

func privateCases() []Case {
	forbidden := func(targets ...string) func(*T) {
		return func(t *T) {
			var asks []ask
			for _, target := range targets {
				asks = append(asks, ask{target: target, want: 403, lacks: []string{"ETag", "Last-Modified", "Content-Range", "Location"}})
			}
			askAll(t, asks...)
		}
	}
	// with sends the requests with a valid token.
	with := func(t *T, asks ...ask) {
		t.Helper()
		cookie := "Cookie: auth_jwt=" + sign(secret, hs256Header, payload(time.Now(), time.Hour))
		for i := range asks {
			asks[i].name = asks[i].title() + ", with a token"
			asks[i].fields = append([]string{cookie}, asks[i].fields...)
		}
		askAll(t, asks...)
	}
	const there = "/private/secret.txt"
	text := docroot.Texts[there[1:]]
	return []Case{
		{Name: "private-403", IDs: []string{"private-403", "keep-403"}, Run: func(t *T) {
			forbidden(
				there, "/private/", "/private", "/private/index.html", "/private/sub/deep.txt", "/private/sub/", "/private/sub", "/private/film.mp4", "/private/empty.txt",
				"/private/a%20b.txt", "/private/secret.txt?x", "/private?x", "/private/?x", "http://h/private/secret.txt", "http://other.example/private/",
				"/private/link-to-plain.txt", "/private/link-dir/page.html", "/private/.dot",
			)(t)
			// Without a token conditions and ranges do not count.
			askAll(t,
				ask{target: there, fields: []string{"If-None-Match: *"}, want: 403},
				ask{target: there, fields: []string{`If-Match: "other"`}, want: 403},
				ask{target: there, fields: []string{"If-Modified-Since: " + modified}, want: 403},
				ask{target: there, fields: []string{"Range: bytes=0-0"}, want: 403},
				ask{target: there, fields: []string{"Range: bytes=1000-"}, want: 403, lacks: []string{"Content-Range"}},
				ask{target: there, fields: []string{"Expect: 100-continue"}, want: 403},
				ask{target: there, fields: []string{"Authorization: Basic dXNlcjA6dGhlcGFzc3dvcmQ="}, want: 403},
			)
		}},
		{Name: "private-missing", IDs: []string{"private-missing"}, Run: func(t *T) {
			forbidden(
				"/private/nothing-there", "/private/nothing/there", "/private/nothing-there/", "/private/secret.txt/", "/private/secret.txt/x", "/private/SECRET.TXT",
				"/private/"+strings.Repeat("n", 300), "/private/.nothing",
			)(t)
			// The response must not reveal whether a file exists.
			t.Sub("existing and missing files get the same response", func(t *T) {
				c := t.Dial()
				first := c.Request("GET", there).Want(403)
				for _, target := range []string{"/private/nothing-there", "/private/sub", "/private/", "/private/nothing/there", "/private/.dot", "/private//x"} {
					resp := c.Request("GET", target).Want(403)
					if string(resp.Body) != string(first.Body) || !slices.Equal(fieldLines(resp), fieldLines(first)) {
						t.Errorf("%s is answered %q with %q, %s is answered %q with %q", there, first.Body, fieldLines(first), target, resp.Body, fieldLines(resp))
					}
				}
				if strings.Contains(string(first.Body), strings.TrimSpace(text)) {
					t.Errorf("the secret is in %q", first.Body)
				}
			})
		}},
		{Name: "private-token", IDs: []string{"private-token", "token-jwt"}, Env: account, Run: func(t *T) {
			with(
				t,
				ask{target: there, want: 200, body: text, has: []string{"Content-Type: text/plain; charset=utf-8", "X-Content-Type-Options: nosniff"}},
				ask{target: "/private/", want: 200, body: docroot.Texts["private/index.html"]},
				ask{target: "/private", want: 301, has: []string{"Location: /private/"}},
				ask{target: "/private/sub/deep.txt", want: 200, body: docroot.Texts["private/sub/deep.txt"]},
				ask{target: "/private/sub/", want: 404},
				ask{target: "/private/sub?x=y", want: 301, has: []string{"Location: /private/sub/?x=y"}},
				ask{target: "/private/nothing-there", want: 404},
				ask{target: "/private/.dot", want: 404},
				ask{target: "/private/secret.txt/", want: 404},
				ask{target: "/private/empty.txt", want: 200, has: []string{"Content-Length: 0"}},
				ask{target: "/private/film.mp4", want: 200, body: docroot.Texts["private/film.mp4"], has: []string{"Content-Type: video/mp4"}},
				ask{target: "/private/link-to-plain.txt", want: 200, body: docroot.Texts["plain.txt"]},
				ask{method: "HEAD", target: there, want: 200, has: []string{fmt.Sprint("Content-Length: ", len(text))}},
				ask{target: there, fields: []string{"Range: bytes=4-9"}, want: 206, body: "secret"},
				ask{target: there, fields: []string{"If-None-Match: *"}, want: 304},
				ask{method: "POST", target: there, want: 405},
				ask{method: "OPTIONS", target: there, want: 204},
			)
			// A token counts for its own request, not for the next one on the connection.
			askAll(t, ask{target: there, want: 403})
			cookie := "Cookie: " + loggedIn(t, t.Server)
			c := t.Dial()
			c.Send(wire.Request("GET", there, "", cookie) + wire.Request("GET", there, "") + wire.Request("GET", there, "", cookie))
			c.WantBody(200, text)
			c.Want(403)
			c.WantBody(200, text)
			c.WantKept()
		}},
		{Name: "private-spelling", IDs: []string{"private-spelling", "target-empty-segment-private", "name-encoded-slash"}, Env: account, Run: func(t *T) {
			// These targets all decode to /private/secret.txt.
			same := []string{
				"/%70rivate/secret.txt", "/privat%65/secret.txt", "/%70%72%69%76%61%74%65/%73%65%63%72%65%74%2e%74%78%74", "/private%2Fsecret.txt", "/private%2fsecret.txt",
				"/private/%73ecret.txt", "/priv%61te%2f%73ecret.txt", "http://h/%70rivate/secret.txt",
			}
			forbidden(same...)(t)
			// These targets begin with /private/ once decoded, but name no file: 403, and with a token 404.
			inside := []string{
				"/private//secret.txt", "/private//", "/private///x", "/private/sub//deep.txt", "/private/secret.txt//", "/private/./secret.txt", "/private/.",
				"/private/sub/../secret.txt", "/private/%2e/secret.txt", "/private/sub/%2e%2e/secret.txt", "/private%2F%2Fsecret.txt", "/private/%2Fsecret.txt",
				"/private/sub%2f..%2fsecret.txt", "/private/%2e%2e/private/secret.txt", "/private/../private/secret.txt", "/private/../secret.txt", "/private/..",
				"/private/../plain.txt", "/%70rivate/../plain.txt", "/private/../../root/private/secret.txt",
			}
			forbidden(inside...)(t)
			for _, target := range inside {
				with(t, ask{target: target, want: 404})
			}
			// These targets lead into /private only if a server resolves them, which it must not do: 404, with
			// a token too. The response must be the same whether the file exists or not.
			for _, form := range []string{
				"//private/%s", "///private/%s", "/./private/%s", "/sub/../private/%s", "/../private/%s", "/nothing/../private/%s", "/sub/%%2e%%2e/private/%s", "/%%2Fprivate/%s",
				"/%%2e/private/%s", "/%%2e%%2e%%2fprivate%%2f%s", "/sub//../private/%s", "/.//private/%s", "/link-dir/../private/%s", "/sub/..//private/%s",
				"/.well-known/../private/%s", "//private//%s", "/%%2e%%2e/root/private/%s", "http://h//private/%s", "/link-private-dir/../private/%s", "/link-private-dir/../%s",
				"/link-private-dir//%s", "/link-private-dir/./%s",
			} {
				t.Sub(form, func(t *T) {
					c := t.Dial()
					secret := c.Request("GET", fmt.Sprintf(form, "secret.txt")).Want(404)
					nothing := c.Request("GET", fmt.Sprintf(form, "nothing-there")).Want(404)
					if string(secret.Body) != string(nothing.Body) || !slices.Equal(fieldLines(secret), fieldLines(nothing)) {
						t.Errorf("the responses differ: %q if the file exists, %q if it does not", secret.Body, nothing.Body)
					}
					c.WantKept()
				})
				with(t, ask{target: fmt.Sprintf(form, "secret.txt"), want: 404})
			}
			// These targets are outside /private.
			askAll(t,
				ask{target: "/privately.txt", want: 200, body: docroot.FileTexts["privately.txt"]},
				ask{target: "/private.txt", want: 200, body: docroot.FileTexts["private.txt"]},
				ask{target: "/sub/private/open.txt", want: 200, body: docroot.FileTexts["sub/private/open.txt"]},
			)
			for _, target := range []string{
				"/PRIVATE/secret.txt", "/Private/secret.txt", "/private%5Csecret.txt", "/private%20/secret.txt", "/%20private/secret.txt", "/privat/secret.txt",
				"/private./secret.txt", "/private;x/secret.txt", "/%2570rivate/secret.txt", "/private%252Fsecret.txt", "/privatex/secret.txt", "/private%3F/secret.txt",
				"/%EF%BD%90rivate/secret.txt", "/private%C0%AFsecret.txt", "/private*/secret.txt", "/~/private/secret.txt",
			} {
				askAll(t, ask{target: target, want: 404})
			}
			c := t.Dial()
			c.Request("GET", "/private%00/secret.txt").WantRefused(400)
			c.Close()
			// With a token each target in same is the file. A target is decoded only once.
			for _, target := range same {
				resp := ask{target: target, want: 200, body: text}
				if strings.Contains(strings.ToLower(target), "%2f") {
					continue // docs/spec.md allows 404 too
				}
				with(t, resp)
			}
			with(t, ask{target: "/private/%2573ecret.txt", want: 200, body: docroot.FileTexts["private/%73ecret.txt"]})
		}},
		{Name: "private-link", IDs: []string{"private-link", "name-link-inside"}, Env: account, Run: func(t *T) {
			forbidden(
				"/link-private.txt", "/link-private-dir/secret.txt", "/link-private-dir/", "/link-private-dir", "/link-private-dir/sub/deep.txt", "/link-private-dir/film.mp4",
				"/sub/link-private-up.txt", "/link-private-chain.txt", "/link-private-deep/deep.txt", "/link-private-deep/", "/link-private-deep", "/private-index/",
				"/link-dir/link-private-up.txt", "/link-private-dir/nothing-there", "/link-private-dir/nothing/there", "/link-private-dir/secret.txt?x",
				"/link%2Dprivate.txt", "/link-private-dir/%73ecret.txt", "/link-private-deep/nothing-there", "/link-private.txt?auth_jwt=x",
			)(t)
			// A second request, with or without a token, gets the same response, whatever the server caches.
			for range 2 {
				with(
					t,
					ask{target: "/link-private.txt", want: 200, body: text},
					ask{target: "/link-private-dir/secret.txt", want: 200, body: text},
					ask{target: "/link-private-dir/", want: 200, body: docroot.Texts["private/index.html"]},
					ask{target: "/link-private-dir", want: 301, has: []string{"Location: /link-private-dir/"}},
					ask{target: "/link-private-dir/nothing-there", want: 404},
					ask{target: "/sub/link-private-up.txt", want: 200, body: text},
					ask{target: "/link-private-chain.txt", want: 200, body: text},
					ask{target: "/link-private-deep/deep.txt", want: 200, body: docroot.Texts["private/sub/deep.txt"]},
					ask{target: "/private-index/", want: 200, body: docroot.Texts["private/index.html"]},
					ask{target: "/private/link-dir/page.html", want: 200, body: docroot.Texts["sub/page.html"]},
				)
				forbidden("/link-private.txt", "/link-private-dir/secret.txt", "/link-private-chain.txt", "/private/link-dir/page.html", "/private-index/")(t)
			}
			askAll(t,
				ask{target: "/link-private.txt", fields: []string{"If-None-Match: *"}, want: 403},
				ask{target: "/link-private.txt", fields: []string{"Range: bytes=0-0"}, want: 403},
				ask{method: "HEAD", target: "/link-private.txt", want: 403},
				ask{target: "/link-dir/page.html", want: 200, body: docroot.Texts["sub/page.html"]}, // other links need no token
			)
		}},
		{Name: "private-link-later", IDs: []string{"private-link", "content-changed"}, Env: account, NoServer: true, Run: func(t *T) {
			// When a public file or folder is replaced by a link into /private, it becomes 403 within
			// a second.
			r := t.Folder(map[string]string{"page.txt": "open", "private/secret.txt": "secret", "sub/x.txt": "x", "link": "->sub"})
			s := t.Begin(Config{Root: r.Dir, Env: account})
			c := t.DialTo(s, DialOptions{})
			c.Request("GET", "/page.txt").WantBody(200, "open")
			c.Request("GET", "/link/x.txt").WantBody(200, "x")
			t.Must(relink(r, "private/secret.txt", "page.txt"))
			t.Must(relink(r, "private", "link"))
			for _, target := range []string{"/page.txt", "/link/secret.txt", "/link/x.txt"} {
				if !kernel.Eventually(changeLimit, func() bool {
					resp := c.Request("GET", target).Read()
					if strings.Contains(string(resp.Body), "secret") {
						t.Fatalf("%s shows the secret without a token", target)
					}
					return resp.Status == 403
				}) {
					t.Errorf("%s leads into /private, but is not 403 within a second", target)
				}
			}
			c.WantKept()
		}},
		{Name: "private-methods", IDs: []string{"private-methods", "target-dotdot"}, Run: func(t *T) {
			for _, method := range []string{"HEAD", "POST", "PUT", "PATCH", "DELETE", "TRACE", "OPTIONS"} {
				for _, target := range []string{there, "/private/nothing-there", "/private/", "/private"} {
					a := ask{method: method, target: target, want: 403, lacks: []string{"Allow"}}
					if method == "POST" {
						a.send = "a body that is dropped"
					}
					askAll(t, a)
				}
				for _, target := range []string{"/private/../plain.txt", "/private//secret.txt", "/private/./secret.txt"} {
					askAll(t, ask{method: method, target: target, want: 403, lacks: []string{"Allow"}})
				}
				for _, target := range []string{"/sub/../private/secret.txt", "//private/secret.txt", "/./private/secret.txt"} {
					askAll(t, ask{method: method, target: target, want: 404, lacks: []string{"Allow"}})
				}
			}
		}},
		{Name: "private-fallback", IDs: []string{"private-fallback", "private-token"}, Flags: []string{"-a"}, Env: account, Run: func(t *T) {
			forbidden(
				there, "/private/nothing-there", "/private/secret", "/private/index", "/private/", "/private", "/private//x", "/link-private.txt", "/link-private-dir/secret.txt",
				"/link-private-dir/", "/link-private-dir", "/private/../plain.txt", "/private/../nothing-there",
			)(t)
			with(
				t,
				ask{target: "/private/../plain.txt", want: 404},
				ask{target: "/sub/../private/secret.txt", want: 404},
				ask{target: there, want: 200, body: text},
				ask{target: "/private/nothing-there", want: 404},
				ask{target: "/private/index", want: 404},
				ask{target: "/private/sub/", want: 404},
			)
		}},
		{Name: "private-absent", IDs: []string{"private-missing"}, NoServer: true, Run: func(t *T) {
			// The responses do not reveal that the root has no folder private.
			s := t.Begin(Config{Root: t.Folder(map[string]string{"index.html": "x"}).Dir, Env: account})
			askAllOf(t, s, ask{target: "/private/x", want: 403}, ask{target: "/private", want: 403}, ask{target: "/private/", want: 403})
			cookie := []string{"Cookie: " + loggedIn(t, s)}
			askAllOf(t, s, ask{target: "/private/x", fields: cookie, want: 404}, ask{target: "/private/", fields: cookie, want: 404})
		}},
	}
}

// relink atomically replaces name by a symbolic link.
func relink(r *Root, to, name string) error {
	if err := os.Symlink(to, r.Path(name+"-new")); err != nil {
		return err
	}
	return os.Rename(r.Path(name+"-new"), r.Path(name))
}
