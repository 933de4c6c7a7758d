package site

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseRanges(t *testing.T) {
	r := func(pairs ...int64) (all []byteRange) {
		for i := 0; i < len(pairs); i += 2 {
			all = append(all, byteRange{pairs[i], pairs[i+1]})
		}
		return all
	}
	many := func(n int) string { // n ranges of one byte that are not adjacent
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, ",%d-%d", 2*i, 2*i)
		}
		return "bytes=" + b.String()[1:]
	}
	const huge = "99999999999999999999999999"
	for _, tt := range []struct {
		value  string
		size   int64
		want   []byteRange
		status int
	}{
		{"bytes=0-0", 10, r(0, 0), 206},
		{"bytes=0-9", 10, r(0, 9), 206},
		{"bytes=0-", 10, r(0, 9), 206},
		{"bytes=9-", 10, r(9, 9), 206},
		{"bytes=5-100", 10, r(5, 9), 206},
		{"BYTES=1-2", 10, r(1, 2), 206},
		{"bytes=-1", 10, r(9, 9), 206},
		{"bytes=-10", 10, r(0, 9), 206},
		{"bytes=-11", 10, r(0, 9), 206},
		{"bytes=-" + huge, 10, r(0, 9), 206},
		{"bytes=0-" + huge, 10, r(0, 9), 206},
		{"bytes=007-008", 10, r(7, 8), 206},
		{"bytes=10-009", 10, nil, 200},
		{"bytes=9223372036854775800-9223372036854775801,-6", math.MaxInt64, nil, 200},
		{"bytes=9223372036854775800-9223372036854775801", math.MaxInt64, r(9223372036854775800, 9223372036854775801), 206},

		{"bytes=10-", 10, nil, 416},
		{"bytes=10-20", 10, nil, 416},
		{"bytes=" + huge + "-", 10, nil, 416},
		{"bytes=" + huge + "-" + huge, 10, nil, 416},
		{"bytes=9223372036854775807-9223372036854775807", 10, nil, 416},
		{"bytes=-0", 10, nil, 416},
		{"bytes=10-,-0,20-30", 10, nil, 416},
		{"bytes=0-", 0, nil, 416},
		{"bytes=0-0", 0, nil, 416},
		{"bytes=-0", 0, nil, 416},
		{"bytes=-5", 0, nil, 200},

		{"", 10, nil, 200},
		{"bytes", 10, nil, 200},
		{"bytes=", 10, nil, 200},
		{"bytes=,", 10, nil, 200},
		{"bytes=-", 10, nil, 200},
		{"bytes= -", 10, nil, 200},
		{"bytes=1", 10, nil, 200},
		{"bytes=2-1", 10, nil, 200},
		{"bytes=a-b", 10, nil, 200},
		{"bytes=1-2x", 10, nil, 200},
		{"bytes=99999999999999999999-99999999999999999998", 10, nil, 200},
		{"bytes=+1-2", 10, nil, 200},
		{"bytes=1--2", 10, nil, 200},
		{"bytes=--2", 10, nil, 200},
		{"bytes=1 -2", 10, nil, 200},
		{"bytes=1- 2", 10, nil, 200},
		{"bytes =1-2", 10, nil, 200},
		{"bytes:1-2", 10, nil, 200},
		{"items=1-2", 10, nil, 200},
		{"bytes=0-1,x", 10, nil, 200},
		{"bytes=0-1;3-4", 10, nil, 200},

		{"bytes=0-1,3-4", 10, r(0, 1, 3, 4), 206},
		{"bytes=0-1, 2-3\t,\t-1", 10, r(0, 1, 2, 3, 9, 9), 206}, // adjacent ranges do not overlap
		{"bytes=,0-1,,3-4,", 10, r(0, 1, 3, 4), 206},
		{"bytes=8-9,0-1", 10, r(8, 9, 0, 1), 206}, // in the order of the field
		{"bytes=0-1,50-60,4-5", 10, r(0, 1, 4, 5), 206},
		{"bytes=50-60,4-5", 10, r(4, 5), 206},
		{"bytes=0-5,5-9", 10, nil, 200},
		{"bytes=0-,0-", 10, nil, 200},
		{"bytes=2-3,0-9", 10, nil, 200},
		{"bytes=0-9,2-3", 10, nil, 200},
		{"bytes=5-,-5", 10, nil, 200},
		{many(16), 100, r(0, 0, 2, 2, 4, 4, 6, 6, 8, 8, 10, 10, 12, 12, 14, 14, 16, 16, 18, 18, 20, 20, 22, 22, 24, 24, 26, 26, 28, 28, 30, 30), 206},
		{many(17), 100, nil, 200},
		{many(17), 3, nil, 200}, // ranges outside of the file count too
	} {
		var memory [maxRanges]byteRange
		got, status := parseRanges(memory[:0], []byte(tt.value), tt.size)
		if diff := cmp.Diff(tt.want, got, cmp.AllowUnexported(byteRange{})); diff != "" || status != tt.status {
			t.Errorf("parseRanges(%q, %d): status %d, want %d; ranges (-want +got):\n%s",
				tt.value, tt.size, status, tt.status, diff)
		}
	}
}
