package site

import (
	"bytes"
	"time"

	"fourways.example/common/h1"
)

// conditions holds the preconditions of a request and its Range field. add compares each
// precondition with one file. A list of entity tags may be spread over several field lines.
// A field with a single date or range that occurs twice is invalid and ignored.
type conditions struct {
	etag       []byte    // the entity tag of the file, always a strong one
	modified   int64     // its Last-Modified in Unix seconds
	lastMod    []byte    // its Last-Modified as text; nil if it has none
	strongDate bool      // its Last-Modified is a strong validator
	now        time.Time // to find the century of an RFC 850 date

	ifMatch, ifNoneMatch               list
	ifModifiedSince, ifUnmodifiedSince date
	ranges, ifRange                    single
}

// list is the state of a field with a list of entity tags.
type list struct{ present, matches bool }

// date is the state of a field with a date.
type date struct {
	lines int  // field lines with this name
	valid bool // there was one field line, and its date could be parsed
	unix  int64
}

// single is the state of a field with a single value.
type single struct {
	lines int // field lines with this name
	value []byte
}

func (s *single) add(value []byte) {
	s.lines++
	s.value = value
}

// add processes one header field of the request. It compares the length of the name first.
// Few fields of a browser's request have the length of a precondition, so most of them need
// no comparison of text.
func (c *conditions) add(name, value []byte) {
	switch len(name) {
	case len("Range"):
		if h1.EqualFold(name, "Range") {
			c.ranges.add(value)
		}
	case len("If-Match"): // also the length of If-Range
		if h1.EqualFold(name, "If-Match") {
			c.ifMatch.present = true
			c.ifMatch.matches = c.ifMatch.matches || matches(value, c.etag, false)
		} else if h1.EqualFold(name, "If-Range") {
			c.ifRange.add(value)
		}
	case len("If-None-Match"):
		if h1.EqualFold(name, "If-None-Match") {
			c.ifNoneMatch.present = true
			c.ifNoneMatch.matches = c.ifNoneMatch.matches || matches(value, c.etag, true)
		}
	case len("If-Modified-Since"):
		if h1.EqualFold(name, "If-Modified-Since") {
			c.addDate(&c.ifModifiedSince, value)
		}
	case len("If-Unmodified-Since"):
		if h1.EqualFold(name, "If-Unmodified-Since") {
			c.addDate(&c.ifUnmodifiedSince, value)
		}
	}
}

// addDate ignores the date if the file has no Last-Modified (RFC 9110 §13.1.3, §13.1.4).
func (c *conditions) addDate(d *date, value []byte) {
	if c.lastMod == nil {
		return
	}
	d.lines++
	if bytes.Equal(value, c.lastMod) { // the usual case: a client sends back our own Last-Modified
		d.unix, d.valid = c.modified, d.lines == 1
		return
	}
	t, ok := parseDate(value, c.now)
	d.unix, d.valid = t, ok && d.lines == 1
}

// evaluate evaluates the preconditions of a GET or HEAD request in the order of RFC 9110
// §13.2.2. It returns the status 412 or 304, or 200 if the request is to be performed.
func (c *conditions) evaluate() int {
	if c.ifMatch.present {
		if !c.ifMatch.matches {
			return 412
		}
	} else if d := c.ifUnmodifiedSince; d.valid && c.modified > d.unix {
		return 412
	}
	if c.ifNoneMatch.present {
		if c.ifNoneMatch.matches {
			return 304
		}
	} else if d := c.ifModifiedSince; d.valid && c.modified <= d.unix {
		return 304
	}
	return 200
}

// rangeField returns the value of the Range field. ok is false if there is none, or if the
// server must ignore it.
//
// If-Range contains an entity tag, which must match in the strong comparison, or a date,
// which must match exactly and be a strong validator (RFC 9110 §13.1.5).
func (c *conditions) rangeField() (value []byte, ok bool) {
	if c.ranges.lines != 1 {
		return nil, false
	}
	switch c.ifRange.lines {
	case 0:
		return c.ranges.value, true
	case 1:
		if v := c.ifRange.value; bytes.Equal(v, c.etag) {
			return c.ranges.value, true
		} else if t, ok := parseDate(v, c.now); ok && c.strongDate && t == c.modified {
			return c.ranges.value, true
		}
	}
	return nil, false
}

// matches reports whether tags, a list of entity tags or "*", contains the strong tag etag
// (RFC 9110 §8.8.3.2). In the weak comparison, W/"x" matches "x". In the strong comparison,
// a weak tag matches no tag. matches ignores the rest of a list after a syntax error.
func matches(tags, etag []byte, weak bool) bool {
	if string(tags) == "*" {
		return true
	}
	for {
		for len(tags) > 0 && (tags[0] == ' ' || tags[0] == '\t' || tags[0] == ',') {
			tags = tags[1:]
		}
		tag, isWeak := bytes.CutPrefix(tags, []byte("W/"))
		if len(tag) == 0 || tag[0] != '"' {
			return false
		}
		end := bytes.IndexByte(tag[1:], '"') // a tag contains no quotes, and a backslash escapes nothing
		if end < 0 {
			return false
		}
		if (weak || !isWeak) && bytes.Equal(tag[:end+2], etag) {
			return true
		}
		tags = h1.TrimOWS(tag[end+2:])
		if len(tags) > 0 && tags[0] != ',' {
			return false
		}
	}
}

// The two obsolete formats of a date, which a server must still accept (RFC 9110 §5.6.7).
const (
	rfc850  = "Monday, 02-Jan-06 15:04:05 GMT"
	asctime = time.ANSIC
)

// parseDate parses a date in any of the three formats. A date with a two-digit year that
// seems to be more than 50 years in the future is in the past (RFC 9110 §5.6.7).
func parseDate(b []byte, now time.Time) (unix int64, ok bool) {
	switch {
	case shaped(b, h1.IMFFixdate):
		t, err := time.Parse(h1.IMFFixdate, string(b))
		return t.Unix(), err == nil
	case shaped(b, asctime):
		t, err := time.Parse(asctime, string(b))
		return t.Unix(), err == nil
	}
	_, rest, _ := bytes.Cut(b, []byte(","))
	if !shaped(rest, rfc850[len("Monday,"):]) {
		return 0, false
	}
	t, err := time.Parse(rfc850, string(b))
	if err != nil {
		return 0, false
	}
	for limit := now.AddDate(50, 0, 0); t.After(limit); {
		t = t.AddDate(-100, 0, 0)
	}
	for limit := now.AddDate(-50, 0, 0); t.Before(limit); {
		t = t.AddDate(100, 0, 0)
	}
	return t.Unix(), true
}

// shaped reports whether b has its digits and spaces at the same places as layout. time.Parse
// also accepts fractions of a second, an hour of one digit, and other numbers of spaces; HTTP
// does not. In place of an underscore, b may have a digit or a space.
func shaped(b []byte, layout string) bool {
	if len(b) != len(layout) {
		return false
	}
	for i, c := range b {
		digit, space := '0' <= c && c <= '9', c == ' '
		switch want := layout[i]; {
		case want == '_':
			if !digit && !space {
				return false
			}
		case digit != ('0' <= want && want <= '9'), space != (want == ' '):
			return false
		}
	}
	return true
}
