//go:build race

package plan_test

// raceDetector says that code is several times slower.
const raceDetector = true
