package site

import (
	"bytes"

	"fourways.example/common/h1"
)

// cookieValues calls yield for the value of each cookie in one Cookie field that has
// exactly the given name. It stops and returns false if yield returns false.
//
// The grammar of RFC 6265 §4.2.1 is "name=value; name=value". cookieValues accepts more, as
// browsers do (§5.2). A name ends at the first "=" and may contain every other byte. White
// space around names and values is ignored, and so is a pair without "=". A value may be in
// quotes. Names are case-sensitive.
func cookieValues(field []byte, name string, yield func(value []byte) bool) bool {
	for len(field) > 0 {
		var pair []byte
		pair, field, _ = bytes.Cut(field, semicolon)
		key, value, found := bytes.Cut(pair, equals)
		if !found || string(h1.TrimOWS(key)) != name {
			continue
		}
		value = h1.TrimOWS(value)
		if n := len(value); n >= 2 && value[0] == '"' && value[n-1] == '"' {
			value = value[1 : n-1]
		}
		if !yield(value) {
			return false
		}
	}
	return true
}

var (
	semicolon = []byte(";")
	equals    = []byte("=")
)
