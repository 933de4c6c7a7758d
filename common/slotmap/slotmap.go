// Package slotmap keeps values under small numbers that are used again, such as descriptors,
// and finds them by keys that are never used again.
//
// An event of epoll(7) carries a tag. The descriptor alone is a bad tag: an event may be for
// a connection that was closed a moment ago, and the kernel may have given its descriptor to
// a new connection. A key is the index of a slot together with a count. To find a value costs
// two accesses to arrays. A Go map from keys to values would need several, and more memory.
package slotmap

import "iter"

// Map holds a *T in each slot that is in use. The zero Map is empty. A Map is not safe for
// concurrent use.
type Map[T any] struct {
	blocks []*block[T] // the slot with index i is in blocks[i/blockSize]; nil if no such slot was used
	count  uint32      // how many values were put, modulo 2^32
}

// blockSize is how many slots are allocated together. A Map that grew as a slice does would
// copy its slots, and leave the copies to the garbage collector.
const blockSize = 512

type block[T any] struct {
	values [blockSize]*T     // nil in a slot that is not in use
	counts [blockSize]uint32 // the upper half of the key of the last value in the slot
}

// Put puts v into the slot with this index, which must not be in use, and returns its key.
// index is at least 0 and less than 2^31. Keys are greater than math.MaxUint32. A key is used
// again only after 2^32 calls of Put.
func (m *Map[T]) Put(index int, v *T) (key uint64) {
	for index/blockSize >= len(m.blocks) {
		m.blocks = append(m.blocks, nil)
	}
	b := m.blocks[index/blockSize]
	if b == nil {
		b = new(block[T])
		m.blocks[index/blockSize] = b
	}
	if m.count++; m.count == 0 {
		m.count = 1
	}
	b.values[index%blockSize], b.counts[index%blockSize] = v, m.count
	return uint64(m.count)<<32 | uint64(index)
}

// slot returns the slot of the value with this key, or nil if there is no such value.
func (m *Map[T]) slot(key uint64) **T {
	index, count := uint32(key), uint32(key>>32)
	if index/blockSize >= uint32(len(m.blocks)) {
		return nil
	}
	b := m.blocks[index/blockSize]
	if b == nil || b.counts[index%blockSize] != count {
		return nil
	}
	return &b.values[index%blockSize]
}

// Get returns the value that was put with this key. It returns nil if the value was deleted, or
// if no value ever had the key.
func (m *Map[T]) Get(key uint64) *T {
	if s := m.slot(key); s != nil {
		return *s
	}
	return nil
}

// At returns the value in the slot with this index, or nil if the slot is not in use.
func (m *Map[T]) At(index int) *T {
	if index < 0 || index/blockSize >= len(m.blocks) || m.blocks[index/blockSize] == nil {
		return nil
	}
	return m.blocks[index/blockSize].values[index%blockSize]
}

// Delete removes the value with this key, if it is there.
func (m *Map[T]) Delete(key uint64) {
	if s := m.slot(key); s != nil {
		*s = nil
	}
}

// All yields all values. The body of the caller's loop may delete and put values. A value
// that it puts may be yielded or not.
func (m *Map[T]) All() iter.Seq[*T] {
	return func(yield func(*T) bool) {
		for i := 0; i < len(m.blocks)*blockSize; i++ {
			b := m.blocks[i/blockSize]
			if b == nil {
				i += blockSize - 1
			} else if v := b.values[i%blockSize]; v != nil && !yield(v) {
				return
			}
		}
	}
}
