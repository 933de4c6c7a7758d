package site

import (
	numbers "math/big"
	"net/http"
	"net/url"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"fourways.example/common/h1"
)

// FuzzRanges compares parseRanges with slowRanges, which computes with numbers of any size
// and sorts the ranges to find overlaps.
func FuzzRanges(f *testing.F) {
	for _, v := range []string{
		"bytes=0-1,3-4", "bytes=-5", "bytes=5-", "bytes=9223372036854775807-", "x", "BYTES= 1-2\t,,-0", "bytes=8-9,0-1,20-",
		"bytes=99999999999999999999-99999999999999999998", "bytes=0-0,1-1,2-2,3-3,4-4,5-5,6-6,7-7,8-8,9-9,10-,11-,12-,13-,14-,15-",
	} {
		f.Add(v, int64(10))
		f.Add(v, int64(0))
	}
	f.Add("bytes=9223372036854775800-9223372036854775801,-6", int64(1<<63-1))
	f.Fuzz(func(t *testing.T, value string, size int64) {
		if size < 0 {
			return // no file has this size
		}
		ranges, status := parseRanges(nil, []byte(value), size)
		wantRanges, wantStatus := slowRanges(value, size)
		if status != wantStatus || !slices.Equal(ranges, wantRanges) {
			t.Fatalf("%q for %d bytes: %d %v, want %d %v", value, size, status, ranges, wantStatus, wantRanges)
		}
		if (status == 206) != (len(ranges) > 0) || len(ranges) > maxRanges {
			t.Fatalf("status %d with %d ranges", status, len(ranges))
		}
		total := int64(0)
		for _, r := range ranges {
			if r.first < 0 || r.first > r.last || r.last >= size {
				t.Errorf("range %v of %d bytes", r, size)
			}
			total += r.len()
		}
		if total < 0 || total > size { // ranges that do not overlap have at most all bytes of the file
			t.Errorf("the ranges %v have %d bytes, the file has %d", ranges, total, size)
		}
	})
}

var (
	firstLast = regexp.MustCompile(`^([0-9]+)-([0-9]*)$`)
	suffix    = regexp.MustCompile(`^-([0-9]+)$`)
)

// slowRanges is the reference for parseRanges. It follows RFC 9110 §14.1.2 word by word.
func slowRanges(value string, size int64) (ranges []byteRange, status int) {
	if len(value) < 6 || strings.ToLower(value[:6]) != "bytes=" {
		return nil, 200
	}
	number := func(s string) *numbers.Int {
		n, _ := new(numbers.Int).SetString(s, 10)
		return n
	}
	end, count := numbers.NewInt(size), 0
	for spec := range strings.SplitSeq(value[6:], ",") {
		if spec = strings.Trim(spec, " \t"); spec == "" {
			continue
		}
		count++
		var first, last *numbers.Int
		if m := suffix.FindStringSubmatch(spec); m != nil {
			n := number(m[1])
			if n.Sign() == 0 {
				continue // it cannot be satisfied
			}
			if size == 0 {
				return nil, 200
			}
			if n.Cmp(end) > 0 {
				n = end
			}
			first, last = new(numbers.Int).Sub(end, n), numbers.NewInt(size-1)
		} else if m := firstLast.FindStringSubmatch(spec); m != nil {
			first, last = number(m[1]), numbers.NewInt(size-1)
			if m[2] != "" {
				n := number(m[2])
				if n.Cmp(first) < 0 {
					return nil, 200
				}
				if n.Cmp(last) < 0 {
					last = n
				}
			}
		} else {
			return nil, 200
		}
		if first.Cmp(end) < 0 {
			ranges = append(ranges, byteRange{first.Int64(), last.Int64()})
		}
	}
	sorted := slices.SortedFunc(slices.Values(ranges), func(a, b byteRange) int {
		return numbers.NewInt(a.first).Cmp(numbers.NewInt(b.first))
	})
	for i := 1; i < len(sorted); i++ {
		if sorted[i].first <= sorted[i-1].last {
			return nil, 200
		}
	}
	switch {
	case count == 0 || count > maxRanges:
		return nil, 200
	case len(ranges) == 0:
		return nil, 416
	}
	return ranges, 206
}

// FuzzCookies checks the values that cookieValues finds: each stands in the field after
// its name, and net/http finds the same values in each field that it accepts.
func FuzzCookies(f *testing.F) {
	for _, v := range []string{
		"auth_jwt=x", "a=b; auth_jwt=x; auth_jwt=y", `auth_jwt="x"; c=`, "auth_jwt", ";;=;auth_jwt=a=b", " auth_jwt = x ", "xauth_jwt=1;auth_jwt=",
		`auth_jwt="`, `auth_jwt=""`, "AUTH_JWT=x", "auth_jwt=\"a;b\"",
	} {
		f.Add(v, "auth_jwt")
	}
	f.Add("=x; a=y", "")
	f.Fuzz(func(t *testing.T, field, name string) {
		var got []string
		complete := cookieValues([]byte(field), name, func(v []byte) bool {
			got = append(got, string(v))
			return true
		})
		if !complete {
			t.Error("cookieValues returns false, but yield never did")
		}
		for _, v := range got {
			if strings.Contains(v, ";") {
				t.Errorf("the value %q contains a semicolon", v)
			}
			at := strings.Index(field, v)
			if at < 0 {
				t.Errorf("the value %q is not in %q", v, field)
			}
		}
		if want := slowCookies(field, name); !slices.Equal(got, want) {
			t.Errorf("the values of %q in %q are %q, want %q", name, field, got, want)
		}
		if len(got) > 0 {
			calls := 0
			if cookieValues([]byte(field), name, func([]byte) bool { calls++; return false }) || calls != 1 {
				t.Errorf("yield returned false, but cookieValues returned true or called it %d times", calls)
			}
		}
		if strings.ContainsAny(field, "\r\n") {
			return // net/http ignores line ends around a value; h1 refuses them before
		}
		cookies, err := http.ParseCookie(field)
		if err != nil {
			return
		}
		var want []string
		for _, c := range cookies {
			switch {
			case c.Name != name:
			case c.Quoted:
				want = append(want, c.Value)
			default:
				want = append(want, strings.Trim(c.Value, " \t")) // net/http keeps a space after "="
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("the values of %q in %q are %q, net/http finds %q", name, field, got, want)
		}
	})
}

// slowCookies is the reference for cookieValues.
func slowCookies(field, name string) (values []string) {
	for _, pair := range strings.Split(field, ";") {
		parts := strings.SplitN(pair, "=", 2)
		if len(parts) < 2 || strings.Trim(parts[0], " \t") != name {
			continue
		}
		v := strings.Trim(parts[1], " \t")
		if len(v) > 1 && strings.HasPrefix(v, `"`) && strings.HasSuffix(v, `"`) {
			v = strings.TrimSuffix(strings.TrimPrefix(v, `"`), `"`)
		}
		values = append(values, v)
	}
	return values
}

// FuzzPaths compares classify with path.Clean, and checks that a client decodes what
// appendEscaped returns into the same path.
func FuzzPaths(f *testing.F) {
	for _, p := range []string{
		"/", "/private", "/x/../private", "//private//", "/.a/..", "/.well-known/x", "/private/../x", "/privateer/", "/a%b c?d#e\"\\", "/gr\u00fc\xff/\x7f",
		"/x/.well-known", "/private/.well-known/", "/.well-known/..", "//host/x", "/...",
	} {
		f.Add(p)
	}
	f.Fuzz(func(t *testing.T, p string) {
		if !strings.HasPrefix(p, "/") {
			return // h1 refuses it
		}
		private, bad := classify([]byte(p))
		if want := p == "/private" || strings.HasPrefix(p, "/private/"); private != want {
			t.Errorf("classify(%q): private %v, want %v", p, private, want)
		}
		if bad == cleanPath(p) {
			t.Errorf("classify(%q): bad %v, want %v", p, bad, !bad)
		}
		clean := path.Clean(p)
		if !bad && p != clean && p != clean+"/" {
			t.Errorf("classify(%q): not bad, but path.Clean returns %q", p, clean)
		}
		if inside := clean == "/private" || strings.HasPrefix(clean, "/private/"); inside && !private && !bad {
			t.Errorf("classify(%q): neither private nor bad, but path.Clean returns %q", p, clean)
		}
		checkEscaped(t, p, bad)
	})
}

// cleanPath reports whether every name of p is one that the site may serve.
func cleanPath(p string) bool {
	names := strings.Split(strings.TrimSuffix(p[1:], "/"), "/")
	if p == "/" {
		return true
	}
	for i, name := range names {
		if name == "" || name[0] == '.' && (i > 0 || name != ".well-known") {
			return false
		}
	}
	return true
}

// checkEscaped checks the Location field for the decoded path p.
func checkEscaped(t *testing.T, p string, bad bool) {
	escaped := string(appendEscaped(nil, []byte(p)))
	if got, err := url.PathUnescape(escaped); err != nil || got != p {
		t.Errorf("%q is escaped as %q, which is decoded as %q (%v)", p, escaped, got, err)
	}
	for _, c := range []byte(escaped) {
		if c <= ' ' || c >= 0x7f || strings.IndexByte("\"#<>?[\\]^`{|}", c) >= 0 {
			t.Errorf("%q is escaped as %q, which contains %q", p, escaped, c)
		}
	}
	if bad {
		return // it is never sent
	}
	u, err := url.Parse(escaped)
	if err != nil || u.Host != "" || u.Scheme != "" || u.Path != p {
		t.Errorf("a browser interprets %q as %+v (%v), want the path %q", escaped, u, err, p)
	}
}

// FuzzDates compares parseDate with time.Parse and with the grammar of RFC 9110 §5.6.7.
func FuzzDates(f *testing.F) {
	for _, v := range []string{
		"Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994", "Sun Nov 16 08:49:37 1994",
		"Sun, 06 Nov 1994 08:49:37.5 GMT", "Sunday, 06-Nov-94 08:49:37,5 GMT", "Sun Nov 6 8:49:37,5 1994", "Sunday, 06-Nov-94 8:49:37 GMT",
		"Sunday, 06-Nov-94  8:49:37 GMT", "Sun, 06 Nov 1994  8:49:37 GMT", "Sun Nov  6  8:49:37 1994",
		"Tue, 29 Feb 2000 00:00:00 GMT", "Tue, 29 Feb 1900 23:59:60 GMT", "Saturday, 29-Feb-00 00:00:00 GMT", "Mon, 01 Jan 0000 00:00:00 GMT",
		"Wednesday, 01-Jan-75 24:00:00 GMT", "sun, 06 nov 1994 08:49:37 GMT", "Sun, 06 Nov 1994 08:49:37 UTC", "",
	} {
		f.Add(v)
	}
	now := time.Date(2026, time.July, 1, 0, 0, 0, 0, time.UTC)
	f.Fuzz(func(t *testing.T, value string) {
		got, ok := parseDate([]byte(value), now)
		want, wantOK := slowDate(value, now)
		if ok != wantOK || ok && got != want.Unix() {
			t.Fatalf("%q: %d, %v; want %v, %v", value, got, ok, want, wantOK)
		}
		if !ok {
			return
		}
		d := time.Unix(got, 0).UTC()
		back := false // the date in one of the three formats is value; the day of the week may be wrong
		for _, layout := range []string{h1.IMFFixdate, rfc850, asctime} {
			text := d.Format(layout)
			back = back || strings.EqualFold(afterDay(text), afterDay(value))
			if again, ok := parseDate([]byte(text), now); ok && layout != rfc850 && again != got {
				t.Errorf("%q is formatted as %q, which is parsed as %d, not %d", value, text, again, got)
			}
		}
		padded := strings.Replace(afterDay(d.Format(asctime)), "  ", " 0", 1) // the day may have two digits in asctime too
		if !back && !strings.EqualFold(afterDay(value), padded) {
			t.Errorf("%q is parsed as %v, which has another text in each format", value, d)
		}
	})
}

// afterDay returns a date without the day of the week.
func afterDay(date string) string {
	if i := strings.IndexAny(date, ", "); i >= 0 {
		return date[i:]
	}
	return date
}

// dateForms are the three formats of RFC 9110 §5.6.7. Letters may have either case.
var dateForms = map[string]*regexp.Regexp{
	h1.IMFFixdate: regexp.MustCompile(`(?i)^[A-Z]{3}, [0-9]{2} [A-Z]{3} [0-9]{4} [0-9]{2}:[0-9]{2}:[0-9]{2} GMT$`),
	rfc850:        regexp.MustCompile(`(?i)^[A-Z]+day, [0-9]{2}-[A-Z]{3}-[0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2} GMT$`),
	asctime:       regexp.MustCompile(`(?i)^[A-Z]{3} [A-Z]{3} [ 0-9][0-9] [0-9]{2}:[0-9]{2}:[0-9]{2} [0-9]{4}$`),
}

// slowDate is the reference for parseDate.
func slowDate(value string, now time.Time) (date time.Time, ok bool) {
	for layout, form := range dateForms {
		if !form.MatchString(value) {
			continue
		}
		t, err := time.Parse(layout, value)
		if err != nil {
			return t, false
		}
		if layout == rfc850 {
			if t.After(now.AddDate(50, 0, 0)) {
				t = t.AddDate(-100, 0, 0)
			} else if t.Before(now.AddDate(-50, 0, 0)) {
				t = t.AddDate(100, 0, 0)
			}
		}
		return t, true
	}
	return time.Time{}, false
}
