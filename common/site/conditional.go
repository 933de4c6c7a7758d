package site

import (
	"bytes"
	"time"

	"fourways.example/common/h1"
)

// conditions are a request's preconditions, judged against one file as their fields
// come by, and its Range. Lists may be spread over several field lines; a field that
// holds one date or one range and comes twice is invalid and ignored.
type conditions struct {
	etag     []byte    // the file's entity tag, always a strong one
	modified int64     // its Last-Modified in Unix seconds
	lastMod  []byte    // the same as a text
	now      time.Time // decides the century of an RFC 850 date

	ifMatch, ifNoneMatch               list
	ifModifiedSince, ifUnmodifiedSince date
	ranges, ifRange                    single
}

// list is what is known of a list of entity tags.
type list struct{ present, matches bool }

// date is what is known of a field that holds a date.
type date struct {
	lines int
	valid bool
	unix  int64
}

// single is a field that holds one value.
type single struct {
	lines int
	value []byte
}

func (s *single) add(value []byte) {
	s.lines++
	s.value = value
}

// add looks at one field of the request. Lengths first: of a browser's fields hardly
// one has the length of a precondition.
func (c *conditions) add(name, value []byte) {
	switch len(name) {
	case len("Range"):
		if is(name, "Range") {
			c.ranges.add(value)
		}
	case len("If-Match"): // and If-Range
		if is(name, "If-Match") {
			c.ifMatch.present = true
			c.ifMatch.matches = c.ifMatch.matches || matches(value, c.etag, false)
		} else if is(name, "If-Range") {
			c.ifRange.add(value)
		}
	case len("If-None-Match"):
		if is(name, "If-None-Match") {
			c.ifNoneMatch.present = true
			c.ifNoneMatch.matches = c.ifNoneMatch.matches || matches(value, c.etag, true)
		}
	case len("If-Modified-Since"):
		if is(name, "If-Modified-Since") {
			c.addDate(&c.ifModifiedSince, value)
		}
	case len("If-Unmodified-Since"):
		if is(name, "If-Unmodified-Since") {
			c.addDate(&c.ifUnmodifiedSince, value)
		}
	}
}

func is(name []byte, want string) bool { return bytes.EqualFold(name, []byte(want)) }

func (c *conditions) addDate(d *date, value []byte) {
	d.lines++
	if bytes.Equal(value, c.lastMod) { // the usual case: a cache sends back what it was given
		d.unix, d.valid = c.modified, d.lines == 1
		return
	}
	t, ok := parseDate(value, c.now)
	d.unix, d.valid = t, ok && d.lines == 1
}

// verdict evaluates the preconditions of a GET or HEAD in the order of RFC 9110
// §13.2.2 and gives 412, 304, or 200 for "go on".
func (c *conditions) verdict() int {
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

// wanted returns the value of the Range field if there is one to be honoured.
//
// If-Range holds an entity tag, compared strongly, or a date, compared exactly
// (RFC 9110 §13.1.5). Whether the date is a strong validator only the client can
// tell, from when it got it; §13.1.5 forbids it to send any other.
func (c *conditions) wanted() (value []byte, ok bool) {
	if c.ranges.lines != 1 {
		return nil, false
	}
	switch c.ifRange.lines {
	case 0:
		return c.ranges.value, true
	case 1:
		if v := c.ifRange.value; bytes.Equal(v, c.etag) {
			return c.ranges.value, true
		} else if t, ok := parseDate(v, c.now); ok && t == c.modified {
			return c.ranges.value, true
		}
	}
	return nil, false
}

// matches tells whether a list of entity tags, or "*", holds etag, which is strong
// (RFC 9110 §8.8.3.2). In the weak comparison W/"x" is "x"; in the strong one a weak
// tag is like nothing. A malformed list ends where it stops making sense.
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
		end := bytes.IndexByte(tag[1:], '"') // no tag has a quote inside, escaped or not
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

// The two old forms of a date (RFC 9110 §5.6.7), which nobody sends any more.
const (
	rfc850  = "Monday, 02-Jan-06 15:04:05 GMT"
	asctime = "Mon Jan _2 15:04:05 2006"
)

// parseDate reads a date in any of the three forms. A year of two digits that would
// be more than 50 years in the future is in the past.
func parseDate(b []byte, now time.Time) (unix int64, ok bool) {
	switch {
	case bytes.IndexByte(b, '.') >= 0: // time.Parse takes fractions of a second, HTTP has none
		return 0, false
	case len(b) == len(h1.IMFFixdate) && b[3] == ',':
		t, err := time.Parse(h1.IMFFixdate, string(b))
		return t.Unix(), err == nil
	case len(b) == len(asctime) && b[3] == ' ':
		t, err := time.Parse(asctime, string(b))
		return t.Unix(), err == nil
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
