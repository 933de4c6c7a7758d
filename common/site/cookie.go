package site

import (
	"bytes"

	"fourways.example/common/h1"
)

// cookieValues yields the values of all cookies with exactly the given name in one
// Cookie field.
//
// RFC 6265 §4.2.1 has "name=value; name=value". Like the browsers' side of it (§5.2)
// this reads more than that grammar: a name ends at the first "=", white space
// around names and values is dropped, a pair without "=" is skipped, and any other
// byte may be in a name. A value may stand in quotes. Names are case-sensitive, and
// one that only ends or begins like the wanted one is another name.
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
	comma     = []byte(",")
)
