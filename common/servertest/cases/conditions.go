package cases

import (
	"fmt"
	"net/http"
	"os"
	"regexp"
	"strings"
	"time"

	"fourways.example/common/servertest/docroot"
	"fourways.example/common/servertest/kernel"
)

// All files in the root have the modification time modified. The other times are before and after it.
var (
	modified     = docroot.Modified.Format(http.TimeFormat)
	secondBefore = docroot.Modified.Add(-time.Second).Format(http.TimeFormat)
	secondAfter  = docroot.Modified.Add(time.Second).Format(http.TimeFormat)
	yearBefore   = docroot.Modified.AddDate(-1, 0, 0)
	yearAfter    = docroot.Modified.AddDate(1, 0, 0)
)

// The two obsolete forms of a date (RFC 9110 §5.6.7).
const (
	rfc850  = "Monday, 02-Jan-06 15:04:05 GMT"
	asctime = "Mon Jan _2 15:04:05 2006"
)

// badDates are values that are not a valid date.
var badDates = []string{
	"", "0", "yesterday", "Thu, 29 Feb 2024", "Thu, 30 Feb 2024 12:34:56 GMT", "Thu, 29 Feb 2024 12:34:56", "Thu, 29 Feb 2024 12:34:56 +0000",
	"2024-02-29T12:34:56Z", "Thu, 29 Feb 2024 25:34:56 GMT", "1709210096", "Thu, 29 Feb 2024 12:34:56 GMT, Thu, 29 Feb 2024 12:34:56 GMT",
	"Thu, 29 Feb 2024 12:34:56.5 GMT", "Thursday, 29-Feb-24 12:34:56.0 GMT", "Thu Feb 29 12:34:56.0 2024", "\"Thu, 29 Feb 2024 12:34:56 GMT\"",
}

func conditionCases() []Case {
	const target = "/plain.txt"
	plain := docroot.Texts["plain.txt"]
	// conditions sends each condition with GET and with HEAD.
	conditions := func(want int, conditions ...string) func(*T) {
		return func(t *T) {
			awaitDate(t, target)
			var asks []ask
			for _, fields := range conditions {
				for _, method := range []string{"GET", "HEAD"} {
					a := ask{method: method, target: target, fields: strings.Split(fields, "\r\n"), want: want}
					switch want {
					case 200:
						a.has = []string{fmt.Sprint("Content-Length: ", len(plain)), "Last-Modified: " + modified}
						if method == "GET" {
							a.body = plain
						}
					case 304:
						a.lacks = []string{"Content-Range"}
					case 412:
						a.lacks = []string{"ETag", "Last-Modified", "Content-Range"}
					}
					asks = append(asks, a)
				}
			}
			askAll(t, asks...)
		}
	}
	// ifRange sends each value with GET: like Range, If-Range applies to GET only.
	ifRange := func(want int, body string, values ...string) func(*T) {
		return func(t *T) {
			awaitDate(t, target)
			for _, v := range values {
				askAll(t, ask{target: target, fields: []string{"Range: bytes=2-6", "If-Range: " + v}, want: want, body: body})
			}
		}
	}
	return []Case{
		{Name: "cond-etag", IDs: []string{"cond-etag"}, Run: func(t *T) {
			c := t.Dial()
			tags := map[string]string{}
			for _, target := range []string{"/plain.txt", "/k.txt", "/", "/sub/", "/empty.txt", "/big.bin", "/a.mp4"} {
				tag := c.Request("HEAD", target).WantTo("HEAD", 200).Get("ETag")
				if !regexp.MustCompile(`^"[\x21\x23-\x7e]+"$`).MatchString(tag) {
					t.Errorf("%s: ETag: %s is not a strong tag", target, tag)
				}
				if other, ok := tags[tag]; ok {
					t.Errorf("%s and %s have the same entity tag", target, other)
				}
				tags[tag] = target
				if again := c.Request("HEAD", target).WantTo("HEAD", 200).Get("ETag"); again != tag {
					t.Errorf("%s: the tag is %s, in the next response %s", target, tag, again)
				}
			}
		}},
		{Name: "cond-last-modified", IDs: []string{"cond-last-modified"}, Run: func(t *T) {
			for _, target := range []string{"/plain.txt", "/", "/sub/", "/empty.txt", "/link-in.txt"} {
				awaitDate(t, target)
				askAll(t, ask{target: target, want: 200, has: []string{"Last-Modified: " + modified}})
			}
			awaitDate(t, "/big.bin")
			askAll(t, ask{method: "HEAD", target: "/big.bin", want: 200, has: []string{"Last-Modified: " + modified}})
		}},
		{Name: "cond-last-modified-fresh", IDs: []string{"cond-last-modified", "cond-if-range-date"}, Run: freshDates},
		{Name: "cond-if-none-match", IDs: []string{"cond-if-none-match"}, Run: func(t *T) {
			conditions(
				304,
				"If-None-Match: $TAG", "If-None-Match: *", "If-None-Match: W/$TAG", `If-None-Match: "other", $TAG`, `If-None-Match: $TAG, "other"`,
				`If-None-Match: W/"other",W/$TAG`, `If-None-Match: "a,b" ,	$TAG`, `If-None-Match: ,,$TAG,`, `If-None-Match: "", $TAG`, "if-none-match: $TAG",
				"If-None-Match: \"other\"\r\nIf-None-Match: $TAG", "If-None-Match: $TAG\r\nIf-None-Match: \"other\"", "If-None-Match: \"\x80\xff\", $TAG",
				"If-None-Match: "+strings.Repeat(`"0123456789", `, 500)+"$TAG",
			)(t)
			conditions(
				200,
				`If-None-Match: "other"`, `If-None-Match: W/"other", "another"`, `If-None-Match: "*"`, `If-None-Match: ""`, "If-None-Match: \"x$TAG",
				`If-None-Match: other`, "If-None-Match: \"other\"\r\nIf-None-Match: \"another\"", `If-None-Match: "`,
			)(t)
			// §13.2.1: conditions are ignored where the response without them is not a success.
			askAll(t,
				ask{target: "/nothing-there", fields: []string{"If-None-Match: *"}, want: 404},
				ask{target: "/sub", fields: []string{"If-None-Match: *"}, want: 301},
				ask{method: "POST", target: target, fields: []string{"If-None-Match: *"}, want: 405},
			)
		}},
		{Name: "cond-if-modified-since", IDs: []string{"cond-if-modified-since"}, Run: func(t *T) {
			conditions(
				304,
				"If-Modified-Since: "+modified, "If-Modified-Since: "+secondAfter, "If-Modified-Since: "+yearAfter.Format(http.TimeFormat),
				"If-Modified-Since: "+docroot.Modified.Format(rfc850), "If-Modified-Since: "+yearAfter.Format(rfc850),
				"If-Modified-Since: "+docroot.Modified.Format(asctime), "If-Modified-Since: "+yearAfter.Format(asctime), "if-modified-since:"+modified,
				"If-Modified-Since: "+time.Date(2024, time.March, 1, 0, 0, 0, 0, time.UTC).Format(asctime),
			)(t)
			conditions(
				200,
				"If-Modified-Since: "+secondBefore, "If-Modified-Since: "+yearBefore.Format(http.TimeFormat),
				"If-Modified-Since: "+yearBefore.Format(rfc850), "If-Modified-Since: "+docroot.Modified.Add(-time.Second).Format(rfc850),
				"If-Modified-Since: "+docroot.Modified.AddDate(-40, 0, 1).Format(rfc850), // two digits never mean a year over 50 years ahead: 84 is 1984
				"If-Modified-Since: "+yearBefore.Format(asctime), "If-Modified-Since: "+docroot.Modified.Add(-time.Second).Format(asctime),
				"If-Modified-Since: Thu, 01 Jan 1970 00:00:00 GMT",
			)(t)
			askAll(t, ask{method: "POST", target: target, fields: []string{"If-Modified-Since: " + modified}, want: 405})
		}},
		{Name: "cond-if-none-match-first", IDs: []string{"cond-if-none-match-first"}, Run: func(t *T) {
			conditions(200, "If-None-Match: \"other\"\r\nIf-Modified-Since: "+modified, "If-Modified-Since: "+secondAfter+"\r\nIf-None-Match: \"other\"")(t)
			conditions(304, "If-None-Match: $TAG\r\nIf-Modified-Since: "+secondBefore, "If-Modified-Since: "+secondBefore+"\r\nIf-None-Match: *")(t)
		}},
		{Name: "cond-304-fields", IDs: []string{"cond-304-fields", "keep-304"}, Run: func(t *T) {
			for _, target := range []string{"/plain.txt", "/big.bin", "/empty.txt", "/"} {
				for _, method := range []string{"GET", "HEAD"} {
					t.Sub(method+" "+target, func(t *T) {
						c := t.Dial()
						head := c.Request("HEAD", target).WantTo("HEAD", 200)
						resp := c.Request(method, target, "If-None-Match: "+head.Get("ETag")).WantTo(method, 304)
						c.WantKept()
						for _, name := range []string{"ETag", "Cache-Control"} { // §15.4.5
							if resp.Get(name) != head.Get(name) {
								t.Errorf("%s is %q in 304 and %q in 200", name, resp.Get(name), head.Get(name))
							}
						}
						if n := resp.Get("Content-Length"); n != "" && n != head.Get("Content-Length") {
							t.Errorf("Content-Length is %s in 304 and %s in 200", n, head.Get("Content-Length")) // §8.6
						}
					})
				}
			}
		}},
		{Name: "cond-if-match", IDs: []string{"cond-if-match", "keep-412"}, Run: func(t *T) {
			conditions(
				200,
				"If-Match: $TAG", "If-Match: *", `If-Match: "other", $TAG`, "If-Match: \"other\"\r\nIf-Match: $TAG", `If-Match: W/"other", $TAG`,
			)(t)
			conditions(
				412,
				`If-Match: "other"`, "If-Match: W/$TAG", `If-Match: "other", W/$TAG`, `If-Match: "*"`, `If-Match: other`, "If-Match: \"other\"\r\nIf-Match: \"another\"",
			)(t)
			askAll(t,
				ask{target: "/nothing-there", fields: []string{`If-Match: "other"`}, want: 404},
				ask{target: "/sub", fields: []string{`If-Match: "other"`}, want: 301},
				ask{method: "DELETE", target: target, fields: []string{`If-Match: "other"`}, want: 405},
			)
		}},
		{Name: "cond-if-unmodified-since", IDs: []string{"cond-if-unmodified-since"}, Run: func(t *T) {
			conditions(
				412,
				"If-Unmodified-Since: "+secondBefore, "If-Unmodified-Since: "+yearBefore.Format(http.TimeFormat),
				"If-Unmodified-Since: "+yearBefore.Format(rfc850), "If-Unmodified-Since: "+yearBefore.Format(asctime),
			)(t)
			conditions(
				200,
				"If-Unmodified-Since: "+modified, "If-Unmodified-Since: "+secondAfter, "If-Unmodified-Since: "+docroot.Modified.Format(rfc850),
				"If-Unmodified-Since: "+docroot.Modified.Format(asctime), "If-Unmodified-Since: "+yearAfter.Format(asctime),
			)(t)
		}},
		{Name: "cond-if-match-first", IDs: []string{"cond-if-match-first"}, Run: func(t *T) {
			conditions(200, "If-Match: $TAG\r\nIf-Unmodified-Since: "+secondBefore, "If-Unmodified-Since: "+secondBefore+"\r\nIf-Match: *")(t)
			conditions(412, "If-Match: \"other\"\r\nIf-Unmodified-Since: "+modified, "If-Unmodified-Since: "+modified+"\r\nIf-Match: W/$TAG")(t)
		}},
		{Name: "cond-412-before-304", IDs: []string{"cond-412-before-304"}, Run: func(t *T) {
			conditions(
				412,
				"If-Match: \"other\"\r\nIf-None-Match: $TAG", "If-None-Match: *\r\nIf-Match: \"other\"", "If-Match: \"other\"\r\nIf-Modified-Since: "+modified,
				"If-Unmodified-Since: "+secondBefore+"\r\nIf-None-Match: $TAG", "If-Modified-Since: "+modified+"\r\nIf-Unmodified-Since: "+secondBefore,
			)(t)
			conditions(
				304,
				"If-Match: $TAG\r\nIf-None-Match: $TAG", "If-Match: *\r\nIf-None-Match: *", "If-Match: $TAG\r\nIf-Modified-Since: "+modified,
				"If-Unmodified-Since: "+modified+"\r\nIf-None-Match: $TAG", "If-Unmodified-Since: "+modified+"\r\nIf-Modified-Since: "+modified,
			)(t)
			conditions(200, "If-Match: $TAG\r\nIf-None-Match: \"other\"", "If-Unmodified-Since: "+modified+"\r\nIf-Modified-Since: "+secondBefore)(t)
		}},
		{Name: "cond-if-range-tag", IDs: []string{"cond-if-range-tag"}, Run: func(t *T) {
			ifRange(206, "plain", "$TAG")(t)
			ifRange(200, plain, `"other"`, "W/$TAG", "*", "$TAG, $TAG", `"other", $TAG`, "", `""`, "other", `"`)(t)
			askAll(t,
				ask{target: target, fields: []string{"If-Range: $TAG"}, want: 200, body: plain},
				// If If-Range does not match, Range is ignored, even if it could not be satisfied.
				ask{target: target, fields: []string{`If-Range: "other"`, "Range: bytes=1000-"}, want: 200, body: plain},
				ask{target: target, fields: []string{"If-Range: $TAG", "Range: bytes=1000-"}, want: 416},
				ask{target: target, fields: []string{`If-Range: "other"`, "Range: bytes=0-0,3-3"}, want: 200, body: plain},
				ask{target: target, fields: []string{"Range: bytes=2-6", "if-range: $TAG"}, want: 206, body: "plain"},
				ask{target: "/empty.txt", fields: []string{`If-Range: "other"`, "Range: bytes=0-"}, want: 200},
				ask{method: "HEAD", target: target, fields: []string{"If-Range: $TAG", "Range: bytes=2-6"}, want: 200},
			)
		}},
		{Name: "cond-if-range-date", IDs: []string{"cond-if-range-date"}, Run: func(t *T) {
			ifRange(206, "plain", modified, docroot.Modified.Format(rfc850), docroot.Modified.Format(asctime))(t)
			ifRange(200, plain, secondBefore, secondAfter, yearAfter.Format(http.TimeFormat), yearBefore.Format(rfc850), yearAfter.Format(asctime))(t)
			ifRange(200, plain, badDates...)(t)
		}},
		{Name: "cond-bad-date", IDs: []string{"cond-bad-date"}, Run: func(t *T) {
			for _, date := range badDates {
				conditions(200, "If-Modified-Since: "+date, "If-Unmodified-Since: "+date)(t)
			}
			// An invalid date is ignored, but If-None-Match in the same request is not.
			conditions(304, "If-Modified-Since: yesterday\r\nIf-None-Match: $TAG", "If-Unmodified-Since: yesterday\r\nIf-None-Match: $TAG")(t)
		}},
		{Name: "cond-range-order", IDs: []string{"cond-range-order"}, Run: func(t *T) {
			for _, r := range []string{"Range: bytes=2-6", "Range: bytes=1000-", "Range: bytes=0-0,3-3"} {
				conditions(
					304,
					"If-None-Match: $TAG\r\n"+r, r+"\r\nIf-Modified-Since: "+modified, r+"\r\nIf-Range: $TAG\r\nIf-None-Match: $TAG",
					"If-Range: \"other\"\r\nIf-None-Match: *\r\n"+r,
				)(t)
				conditions(412, "If-Match: \"other\"\r\n"+r, r+"\r\nIf-Unmodified-Since: "+secondBefore, r+"\r\nIf-Range: $TAG\r\nIf-Match: W/$TAG")(t)
			}
			askAll(t,
				ask{target: target, fields: []string{"If-Match: $TAG", "Range: bytes=2-6"}, want: 206, body: "plain"},
				ask{target: target, fields: []string{`If-None-Match: "other"`, "Range: bytes=2-6"}, want: 206, body: "plain"},
				ask{target: target, fields: []string{"If-Modified-Since: " + secondBefore, "Range: bytes=2-6", "If-Range: $TAG"}, want: 206, body: "plain"},
				ask{target: target, fields: []string{"If-Unmodified-Since: " + modified, "Range: bytes=1000-"}, want: 416},
			)
		}},
	}
}

// awaitDate waits until the server sends a Last-Modified for target. It may leave it out for 2 s after a change, and
// the files of the root are made when the suite starts. A server that has sent none after 4 s sends none at all.
func awaitDate(t *T, target string) {
	t.Helper()
	c := t.Dial()
	defer c.Close()
	kernel.Eventually(4*time.Second-time.Since(t.Root.Made), func() bool {
		return c.Request("HEAD", target).WantTo("HEAD", 200).Get("Last-Modified") != ""
	})
}

// freshDates changes a file twice in one second, so that a date does not tell the two versions apart
// (RFC 9110 §8.8.2.2). A client that has the first half of the old bytes must not get the second half of the new ones.
func freshDates(t *T) {
	old, changed := strings.Repeat("A", 100), strings.Repeat("B", 100)
	when := time.Now().Truncate(time.Second)
	for what, size := range map[string]int{"a small file": 1, "a large file": 1000} {
		t.Sub(what, func(t *T) {
			name := t.File(".txt", strings.Repeat(old, size))
			path := t.Root.Path(name)
			t.Must(os.Chtimes(path, when, when))
			c := t.Dial()
			resp := c.Request("GET", "/"+name).Want(200)
			date := resp.Get("Last-Modified")
			if date != "" {
				t.Errorf("a file that has just changed has the Last-Modified %s", date)
			}
			t.Must(os.WriteFile(path, []byte(strings.Repeat(changed, size)), 0o644))
			t.Must(os.Chtimes(path, when, when))
			fields := []string{"Range: bytes=50-99", "If-Range: " + when.UTC().Format(http.TimeFormat)}
			t.Eventually("the new bytes are served", func() bool {
				resp := c.Request("GET", "/"+name, fields...).Read()
				if resp.Status != 200 {
					t.Fatalf("If-Range with a date that does not tell the versions apart is %d", resp.Status)
				}
				return strings.HasPrefix(string(resp.Body), changed)
			})
		})
	}
	t.Sub("a file from the future", func(t *T) {
		name := t.File(".txt", old)
		future := time.Now().Add(24 * time.Hour)
		t.Must(os.Chtimes(t.Root.Path(name), future, future))
		c := t.Dial()
		var resp *Response
		t.Eventually("the file has a Last-Modified", func() bool {
			resp = c.Request("GET", "/"+name).Want(200)
			return resp.Get("Last-Modified") != ""
		})
		date, err := http.ParseTime(resp.Get("Last-Modified"))
		t.Must(err)
		now, err := http.ParseTime(resp.Get("Date"))
		if resp.Get("Date") == "" && t.Tolerates("resp-date") {
			now, err = time.Now(), nil
		}
		t.Must(err)
		if date.After(now) {
			t.Errorf("Last-Modified %v is after Date %v", date, now)
		}
		c.Request("GET", "/"+name, "Range: bytes=0-0", "If-Range: "+resp.Get("Last-Modified")).WantBody(200, old)
	})
}
