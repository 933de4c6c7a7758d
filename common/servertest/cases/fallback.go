package cases

import (
	"fourways.example/common/servertest/docroot"
	"fourways.example/common/servertest/kernel"
)

func fallbackCases() []Case {
	// The shared root has no 200.html. This root has every file that a fallback can use.
	site := map[string]string{
		"index.html":              "the index",
		"200.html":                "the 200",
		"public.html":             "public.html",
		"public/file.txt":         "in public",
		"page.html":               "the page",
		"exact":                   "a file without a suffix",
		"exact.html":              "not this one",
		"sub/index.html":          "the index of sub",
		"sub/deep.html":           "deep",
		"sub/both/index.html":     "the index of both",
		"sub/both.html":           "both.html",
		"empty-file":              "",
		"empty-file.html":         "not this one either",
		"empty.html":              "",
		"a b.html":                "a blank in the name",
		"api.html":                "not for /api",
		"api/page.html":           "in api",
		"apix.html":               "apix",
		"private.html":            "not for /private",
		"private/page.html":       "the private page",
		"privatex.html":           "privatex",
		"sneak.html":              "->private/page.html",
		"link-private":            "->private",
		"link.html":               "->page.html",
		".dot.html":               "a dot name",
		".well-known/known.html":  "known",
		"folder.html/inside.html": "folder.html is a folder",
	}
	const a = "-a"
	html := []string{"Content-Type: text/html; charset=utf-8", "X-Content-Type-Options: nosniff", "Accept-Ranges: bytes"}
	is := func(target, body string) ask { return ask{target: target, want: 200, body: body, has: html} }
	missing := func(target string) ask { return ask{target: target, want: 404} }
	forbidden := func(target string) ask { return ask{target: target, want: 403} }
	begin := func(t *T, files map[string]string, flags ...string) *Server {
		return t.Begin(Config{Root: t.Folder(files).Dir, Flags: flags, Env: account})
	}
	return []Case{
		{Name: "fallback-shared", IDs: []string{"fallback-html", "fallback-index", "fallback-status"}, Flags: []string{a}, Run: func(t *T) {
			index := docroot.Texts["index.html"]
			awaitDate(t, "/page")
			askAll(t,
				is("/page", docroot.Texts["page.html"]),
				is("/sub/page", docroot.Texts["sub/page.html"]),
				is("/nothing-there", index),
				is("/nothing-there?x=y", index),
				is("/nothing/there/deep", index),
				is("/sub/nothing-there", index), // and not /sub/index.html
				is("/nothing-there.txt", index),
				is("/plain.txt/", index),
				is("/sub", index), // with -a a folder gets no redirect
				is("/public", docroot.Texts["public.html"]),
				ask{method: "HEAD", target: "/nothing-there", want: 200, has: html},
				// The server treats the fallback like any other file.
				ask{target: "/page", fields: []string{"If-None-Match: $TAG"}, want: 304},
				ask{target: "/page", fields: []string{"If-Modified-Since: " + modified}, want: 304},
				ask{target: "/page", fields: []string{`If-Match: "other"`}, want: 412},
				ask{target: "/page", fields: []string{"Range: bytes=0-8"}, want: 206, body: "<!DOCTYPE"},
				ask{target: "/page", fields: []string{"Range: bytes=1000-"}, want: 416},
				ask{method: "POST", target: "/nothing-there", want: 405},
				ask{method: "DELETE", target: "/page", want: 405},
			)
		}},
		{Name: "fallback-order", IDs: []string{
			"fallback-html", "fallback-200", "fallback-index", "fallback-file-wins", "fallback-folder", "fallback-index-first",
		}, NoServer: true, Run: func(t *T) {
			s := begin(t, site, a)
			askAllOf(t, s,
				is("/", "the index"),
				is("/page", "the page"),
				is("/page.html", "the page"),
				is("/p%61ge?x", "the page"),
				is("/link", "the page"),
				is("/a%20b", "a blank in the name"),
				is("/sub/deep", "deep"),
				is("/nothing-there", "the 200"),
				is("/nothing/there", "the 200"),
				is("/sub/nothing-there", "the 200"),
				is("/200", "the 200"),
				is("/index", "the index"),
				is("/folder", "the 200"), // folder.html is a folder
				ask{target: "/exact", want: 200, body: "a file without a suffix", has: []string{"Content-Type: application/octet-stream"}},
				ask{target: "/empty-file", want: 200, has: []string{"Content-Length: 0"}},
				ask{target: "/empty", want: 200, has: []string{"Content-Length: 0", "Content-Type: text/html; charset=utf-8"}},
				ask{target: "/public/file.txt", want: 200, body: "in public"},
				is("/public", "public.html"),
				is("/public?x=y", "public.html"),
				is("/public/", "the 200"),
				is("/sub", "the 200"),
				is("/sub/", "the index of sub"),
				is("/sub/both", "both.html"),
				is("/sub/both/", "the index of both"),
				is("/nothing/", "the 200"),
				is("/apix", "apix"),
				is("/privatex", "privatex"),
			)
		}},
		{Name: "fallback-bare", IDs: []string{"fallback-index", "fallback-200", "fallback-status"}, NoServer: true, Run: func(t *T) {
			// Without a file to fall back on the answer is 404. Files that are created later are used.
			r := t.Folder(map[string]string{"plain.txt": "plain", "sub/x.txt": "x"})
			s := t.Begin(Config{Root: r.Dir, Flags: []string{a}})
			askAllOf(t, s, missing("/"), missing("/nothing-there"), ask{target: "/plain.txt", want: 200, body: "plain"})
			for _, step := range []struct{ file, text string }{{"index.html", "the index"}, {"200.html", "the 200"}, {"nothing-there.html", "the page"}} {
				t.Must(r.Put(step.file, []byte(step.text)))
				c := t.DialTo(s, DialOptions{})
				if !kernel.Eventually(changeLimit, func() bool {
					resp := c.Request("GET", "/nothing-there").Read()
					return resp.Status == 200 && string(resp.Body) == step.text
				}) {
					t.Errorf("/nothing-there is not %s within a second after that file was created", step.file)
				}
				c.Close()
			}
			askAllOf(t, s, is("/", "the index"), is("/sub/", "the 200"), is("/other", "the 200"))
		}},
		{Name: "fallback-not-api", IDs: []string{"fallback-not-api", "api-unknown"}, NoServer: true, Run: func(t *T) {
			askAllOf(t, begin(t, site, a),
				missing("/api"), missing("/api/"), missing("/api/page"), missing("/api/page.html"), missing("/api/nothing-there"), missing("/api?x"),
				missing("/%61pi/page"), missing("/api%2Fpage"), missing("/api/login/"), missing("/api/video.html"),
				ask{target: "/api/login", want: 200, body: "{}"},
				ask{target: "/healthz", want: 200, body: "ok"},
			)
		}},
		{Name: "fallback-not-private", IDs: []string{"fallback-not-private", "private-fallback"}, NoServer: true, Run: func(t *T) {
			s := begin(t, site, a)
			targets := []string{
				"/private", "/private/", "/private/page", "/private/page.html", "/private/nothing-there", "/private?x", "/%70rivate", "/private%2Fpage", "/private//page",
				"/sneak", "/sneak.html", "/link-private/page", "/link-private/page.html",
			}
			var asks []ask
			for _, target := range targets {
				asks = append(asks, forbidden(target))
			}
			askAllOf(t, s, asks...)
			cookie := []string{"Cookie: " + loggedIn(t, s)}
			for _, target := range []string{"/private/nothing-there", "/private/page", "/private/"} {
				askAllOf(t, s, ask{target: target, fields: cookie, want: 404})
			}
			askAllOf(t, s, ask{target: "/private", fields: cookie, want: 301, has: []string{"Location: /private/"}})
			askAllOf(t, s, ask{target: "/private/page.html", fields: cookie, want: 200, body: "the private page"})
		}},
		{Name: "fallback-off", IDs: []string{"fallback-off"}, NoServer: true, Run: func(t *T) {
			s := begin(t, site)
			askAllOf(t, s,
				missing("/page"), missing("/nothing-there"), missing("/200"), missing("/sub/deep"), missing("/empty"), missing("/public/"),
				ask{target: "/public", want: 301, has: []string{"Location: /public/"}},
				ask{target: "/sub/both", want: 301, has: []string{"Location: /sub/both/"}},
			)
		}},
		{Name: "fallback-dots", IDs: []string{"fallback-dots"}, Flags: []string{a}, Run: func(t *T) {
			askAll(t,
				missing("/.dot"), missing("/.nothing-there"), missing("/.git/config"), missing("/sub/.dot"), missing("/sub/.nothing"), missing("/.git/"),
				missing("/../plain.txt"), missing("/nothing/../plain.txt"), missing("/nothing/../there"), missing("/%2e%2e/x"), missing("/..%2fx"), missing("/."),
				missing("//"), missing("//nothing-there"), missing("/nothing//there"), missing("/nothing-there//"), missing("/./nothing-there"), missing("/..."),
				missing("/sub/../private/secret.txt"), missing("//private/nothing-there"), missing("/./private"),
			)
		}},
	}
}
