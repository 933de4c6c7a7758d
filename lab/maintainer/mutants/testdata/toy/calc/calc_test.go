package calc

import "testing"

func TestSum(t *testing.T) {
	if Sum(4) != 10 || len(Cap()) != 0 {
		t.Error("wrong")
	}
}

func TestForever(t *testing.T) { Forever() }
