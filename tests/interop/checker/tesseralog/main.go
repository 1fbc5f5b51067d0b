// tesseralog keeps a Tessera POSIX log whose checkpoints are published once
// witnesses have cosigned them. It shows that a witness of Countersign serves
// other logs than Countersign's.
//
//	tesseralog -dir DIR -keygen                       writes DIR/log.skey and DIR/log.vkey
//	tesseralog -dir DIR -policy FILE -entries 300     adds entries, waits for publication
//
// The policy names witnesses and a quorum (C2SP tlog-policy without the log's
// line). Exit status 0 once a checkpoint over all entries is published.
package main

import (
	"context"
	"crypto/rand"
	"flag"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"time"

	"github.com/transparency-dev/tessera"
	"github.com/transparency-dev/tessera/storage/posix"
	"golang.org/x/mod/sumdb/note"
)

const origin = "tessera.example/log"

func main() {
	log.SetFlags(0)
	log.SetPrefix("tesseralog: ")
	dir := flag.String("dir", "", "the log's folder")
	keygen := flag.Bool("keygen", false, "make the log's key and end")
	policy := flag.String("policy", "", "witnesses and quorum")
	entries := flag.Int("entries", 300, "entries to add")
	flag.Parse()
	var err error
	if *keygen {
		err = makeKey(*dir)
	} else {
		err = grow(*dir, *policy, *entries)
	}
	if err != nil {
		log.Fatal(err)
	}
}

func makeKey(dir string) error {
	skey, vkey, err := note.GenerateKey(rand.Reader, origin)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "log.skey"), []byte(skey), 0o600); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "log.vkey"), []byte(vkey+"\n"), 0o644)
}

func grow(dir, policy string, entries int) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	skey, err := os.ReadFile(filepath.Join(dir, "log.skey"))
	if err != nil {
		return err
	}
	signer, err := note.NewSigner(string(skey))
	if err != nil {
		return err
	}
	text, err := os.ReadFile(policy)
	if err != nil {
		return err
	}
	witnesses, err := tessera.NewWitnessGroupFromPolicy(text)
	if err != nil {
		return err
	}
	driver, err := posix.New(ctx, posix.Config{Path: dir})
	if err != nil {
		return err
	}
	appender, shutdown, reader, err := tessera.NewAppender(ctx, driver, tessera.NewAppendOptions().
		WithCheckpointSigner(signer).
		WithCheckpointInterval(100*time.Millisecond).
		WithBatching(256, 20*time.Millisecond).
		WithWitnesses(witnesses, &tessera.WitnessOptions{Timeout: 10 * time.Second}))
	if err != nil {
		return err
	}
	// A checkpoint of an earlier run may be there already; entries of one run are new.
	salt := make([]byte, 16)
	if _, err := rand.Read(salt); err != nil {
		return err
	}
	futures := make([]tessera.IndexFuture, 0, entries)
	for i := range entries {
		entry := fmt.Appendf(nil, "entry %d of %x", i, salt)
		futures = append(futures, appender.Add(ctx, tessera.NewEntry(entry)))
	}
	awaiter := tessera.NewPublicationAwaiter(ctx, reader.ReadCheckpoint, 20*time.Millisecond)
	var last uint64
	for _, future := range futures {
		index, _, err := awaiter.Await(ctx, future)
		if err != nil {
			return err
		}
		last = max(last, index.Index)
	}
	if err := shutdown(ctx); err != nil {
		return err
	}
	fmt.Printf("{\"size\":%d}\n", last+1)
	return nil
}
