package h1

import (
	"bytes"
	"math/rand/v2"
	"strings"
	"testing"
)

// TestClasses compares the table of character classes with the grammar of the RFCs.
func TestClasses(t *testing.T) {
	const alnum = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
	for i := range 256 {
		c := byte(i)
		in := func(set string) bool { return strings.IndexByte(set, c) >= 0 }
		vchar := c >= 0x21 && c <= 0x7E
		for _, k := range []struct {
			name string
			bit  uint8
			want bool
		}{
			{"token", isToken, in(alnum + "!#$%&'*+-.^_`|~")},
			{"path", isPathByte, vchar && !in("#%?\\"+"\"<>`{}")},
			{"query", isQueryByte, vchar && !in("#")},
			{"reg-name", isRegName, in(alnum + "-._~" + "!$&'()*+,;=" + "%")},
			{"quoted", isQuotedText, c == '\t' || c == ' ' || vchar && !in("\"\\") || c >= 0x80},
		} {
			if got := class[c]&k.bit != 0; got != k.want {
				t.Errorf("%s: byte %#02x: %v, want %v", k.name, c, got, k.want)
			}
		}
		wantHex := strings.IndexByte("0123456789abcdef", lower(c))
		if got := hex(c); got != wantHex {
			t.Errorf("hex(%#02x) = %d, want %d", c, got, wantHex)
		}
	}
}

// TestValuePrefix compares valuePrefix, which examines eight bytes at a time, with a loop
// that examines each byte.
func TestValuePrefix(t *testing.T) {
	slow := func(data []byte) int {
		for i, c := range data {
			if c < 0x20 && c != '\t' || c == 0x7F {
				return i
			}
		}
		return len(data)
	}
	data := make([]byte, 40)
	for c := range 256 { // every byte at every index, with several neighbors
		for _, neighbour := range []byte{'x', ' ', '\t', 0x80, 0xFF, 0x7E, 0x80 | 0x1F, 0x21} {
			for at := range data {
				for i := range data {
					data[i] = neighbour
				}
				data[at] = byte(c)
				if got, want := valuePrefix(data), slow(data); got != want {
					t.Fatalf("%q: %d, want %d", data, got, want)
				}
			}
		}
	}
	rnd := rand.New(rand.NewPCG(1, 1))
	odd := []byte("\t\t\t x~\x80\xFF\x9F\x7F\x1F\r\x00")
	for range 200_000 {
		data = data[:rnd.IntN(40)]
		for i := range data {
			data[i] = odd[rnd.IntN(1+rnd.IntN(len(odd)))]
		}
		if got, want := valuePrefix(data), slow(data); got != want {
			t.Fatalf("%q: %d, want %d", data, got, want)
		}
	}
}

func TestTextHelpers(t *testing.T) {
	for in, want := range map[string]string{"": "", " ": "", "a": "a", "\t a b \t": "a b", " \ta": "a"} {
		if got := TrimOWS([]byte(in)); !bytes.Equal(got, []byte(want)) {
			t.Errorf("TrimOWS(%q) = %q, want %q", in, got, want)
		}
	}
	for _, c := range []struct {
		a, b string
		want bool
	}{{"close", "close", true}, {"CLOSE", "close", true}, {"close", "CLOSE", true}, {"closE", "close ", false}, {"[", "{", false}, {"@", "`", false}} {
		if got := EqualFold([]byte(c.a), c.b); got != c.want {
			t.Errorf("EqualFold(%q, %q) = %v, want %v", c.a, c.b, got, c.want)
		}
	}
	if methodOf([]byte("get")) != Unknown || methodOf([]byte("")) != Unknown || methodOf([]byte("DELETE")) != DELETE {
		t.Error("methodOf must compare the whole token and its letter case")
	}
	if DELETE.String() != "DELETE" {
		t.Errorf("DELETE.String() = %q", DELETE)
	}
}
