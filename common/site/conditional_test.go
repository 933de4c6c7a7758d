package site

import (
	"strings"
	"testing"
	"time"

	"fourways.example/common/h1"
)

func TestMatches(t *testing.T) {
	for _, tt := range []struct {
		list         string
		strong, weak bool
	}{
		{`"x"`, true, true},
		{`W/"x"`, false, true},
		{`w/"x"`, false, false}, // case-sensitive (RFC 9110 §8.8.3)
		{`"y"`, false, false},
		{`"y", "x"`, true, true},
		{`"y",W/"x"`, false, true},
		{`W/"x", "x"`, true, true},
		{`"y" , ,"x" ,`, true, true},
		{`"a, \", "x"`, true, true}, // a backslash escapes nothing
		{`"a,"x","x"`, false, false},
		{`*`, true, true},
		{`"y", *`, false, false},
		{`x`, false, false},
		{`x, "x"`, false, false},
		{`"x`, false, false},
		{`"x""x"`, true, true},
		{`"y""x"`, false, false},
		{`"X"`, false, false},
		{`""`, false, false},
		{``, false, false},
		{`W/`, false, false},
		{`W/x`, false, false},
	} {
		tag := []byte(`"x"`)
		strong, weak := matches([]byte(tt.list), tag, false), matches([]byte(tt.list), tag, true)
		if strong != tt.strong || weak != tt.weak {
			t.Errorf("matches(%s) = strong %v, weak %v; want %v, %v", tt.list, strong, weak, tt.strong, tt.weak)
		}
	}
}

func TestParseDate(t *testing.T) {
	now := time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC)
	const wrong = -1
	for _, tt := range []struct {
		text string
		want int64
	}{
		{"Sun, 06 Nov 1994 08:49:37 GMT", 784111777},
		{"Sunday, 06-Nov-94 08:49:37 GMT", 784111777},
		{"Sun Nov  6 08:49:37 1994", 784111777},
		{"Sunday, 06-Nov-76 08:49:37 GMT", time.Date(1976, 11, 6, 8, 49, 37, 0, time.UTC).Unix()},
		{"Sunday, 06-Nov-75 08:49:37 GMT", time.Date(2075, 11, 6, 8, 49, 37, 0, time.UTC).Unix()},
		{"Sunday, 06-Nov-26 08:49:37 GMT", time.Date(2026, 11, 6, 8, 49, 37, 0, time.UTC).Unix()},
		{"Sun, 06 Nov 1994 08:49:37 CET", wrong},
		{"Sun, 06 Nov 1994 08:49:37 UTC", wrong},
		{"Sun, 06 Nov 1994 08:49:37", wrong},
		{"Sun, 06 Nov 1994 08:49:37 GMT ", wrong},
		{"Sun, 6 Nov 1994 08:49:37 GMT", wrong},
		{"Sun, 31 Feb 1994 08:49:37 GMT", wrong},
		{"Sunday, 06-Nov-94 08:49:37.5 GMT", wrong},
		{"784111777", wrong},
		{"0", wrong},
		{"", wrong},
		{strings.Repeat("x", len(h1.IMFFixdate)), wrong},
	} {
		got, ok := parseDate([]byte(tt.text), now)
		if !ok {
			got = wrong
		}
		if got != tt.want {
			t.Errorf("parseDate(%q) = %d, want %d", tt.text, got, tt.want)
		}
	}
	then := time.Date(2000, 6, 1, 0, 0, 0, 0, time.UTC) // time.Parse would take the year 68 for 2068
	if got, _ := parseDate([]byte("Sunday, 06-Nov-68 08:49:37 GMT"), then); time.Unix(got, 0).UTC().Year() != 1968 {
		t.Errorf("in the year 2000, the year 68 is %v, want 1968", time.Unix(got, 0).UTC())
	}
}

func TestConditions(t *testing.T) {
	const (
		mine, other   = `"mine"`, `"other"`
		same          = "Sun, 06 Nov 1994 08:49:37 GMT"
		sameOld       = "Sunday, 06-Nov-94 08:49:37 GMT"
		before, after = "Sun, 06 Nov 1994 08:49:36 GMT", "Sun, 06 Nov 1994 08:49:38 GMT"
		rng           = "Range: bytes=0-1"
	)
	for _, tt := range []struct {
		fields string // joined by newlines
		status int
		ranges bool
	}{
		{"", 200, false},
		{"If-Match: " + mine, 200, false},
		{"if-match: *", 200, false},
		{"If-Match: " + other, 412, false},
		{"If-Match: W/" + mine, 412, false},
		{"If-Match: nonsense", 412, false},
		{"If-Match: " + other + "\nIf-Match: " + mine, 200, false},
		{"If-Match: " + mine + "\nIf-Match: " + other, 200, false},

		{"If-Unmodified-Since: " + same, 200, false},
		{"If-Unmodified-Since: " + after, 200, false},
		{"If-Unmodified-Since: " + before, 412, false},
		{"If-Unmodified-Since: nonsense", 200, false},
		{"If-Unmodified-Since: " + before + "\nIf-Unmodified-Since: " + before, 200, false},
		{"If-Match: " + mine + "\nIf-Unmodified-Since: " + before, 200, false}, // the tag wins
		{"If-Match: " + other + "\nIf-Unmodified-Since: " + same, 412, false},

		{"If-None-Match: " + mine, 304, false},
		{"If-None-Match: W/" + mine, 304, false},
		{"If-None-Match: *", 304, false},
		{"If-None-Match: " + other, 200, false},
		{"If-None-Match: " + other + "\nIF-NONE-MATCH: " + mine, 304, false},

		{"If-Modified-Since: " + same, 304, false},
		{"If-Modified-Since: " + sameOld, 304, false},
		{"If-Modified-Since: " + after, 304, false},
		{"If-Modified-Since: " + before, 200, false},
		{"If-Modified-Since: nonsense", 200, false},
		{"If-Modified-Since: " + same + "\nIf-Modified-Since: " + same, 200, false},
		{"If-Modified-Since: " + same + "\nIf-None-Match: " + other, 200, false}, // the tag wins
		{"If-Modified-Since: " + before + "\nIf-None-Match: " + mine, 304, false},

		{"If-Match: " + other + "\nIf-None-Match: " + mine, 412, false}, // If-Match first
		{"If-Match: " + mine + "\nIf-None-Match: " + mine, 304, false},
		{"If-Unmodified-Since: " + before + "\nIf-Modified-Since: " + same, 412, false},
		{"If-Unmodified-Since: " + same + "\nIf-Modified-Since: " + same, 304, false},

		{rng, 200, true},
		{"range: bytes=0-1", 200, true},
		{rng + "\nRange: bytes=2-3", 200, false},
		{rng + "\nIf-None-Match: " + mine, 304, true},
		{rng + "\nIf-Range: " + mine, 200, true},
		{rng + "\nIf-Range: " + other, 200, false},
		{rng + "\nIf-Range: W/" + mine, 200, false},
		{rng + "\nIf-Range: *", 200, false},
		{rng + "\nIf-Range: " + mine + ", " + mine, 200, false},
		{rng + "\nIf-Range: " + mine + "\nIf-Range: " + mine, 200, false},
		{rng + "\nIf-Range: " + same, 200, true},
		{rng + "\nIf-Range: " + sameOld, 200, true},
		{rng + "\nIf-Range: " + after, 200, false}, // the date must match exactly, unlike If-Unmodified-Since
		{rng + "\nIf-Range: " + before, 200, false},
		{rng + "\nIf-Range: nonsense", 200, false},
		{rng + "\nIf-Range:", 200, false},
		{"If-Range: " + mine, 200, false},

		{"Rango: x\nIf-Watch: " + other + "\nIf-Nine-Match: *", 200, false}, // other names of the same lengths
	} {
		c := conditions{etag: []byte(mine), modified: 784111777, lastMod: []byte(same), strongDate: true, now: time.Unix(1.7e9, 0)}
		for line := range strings.SplitSeq(tt.fields, "\n") {
			name, value, _ := strings.Cut(line, ":")
			c.add([]byte(name), []byte(strings.TrimSpace(value)))
		}
		_, ranges := c.rangeField()
		if status := c.evaluate(); status != tt.status || ranges != tt.ranges {
			t.Errorf("%q: status %d, ranges %v; want %d, %v", tt.fields, status, ranges, tt.status, tt.ranges)
		}
	}
}
