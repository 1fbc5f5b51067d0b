// tesseraclient follows a log with Tessera's own client library, as a program
// written for Tessera logs would: it goes from a checkpoint kept before to the
// newest one by a consistency proof, streams all entries, and proves some of
// them.
//
//	tesseraclient -url http://127.0.0.1:7401/ -vkey @log.vkey -previous checkpoint.before
//
// Exit status 0 if everything holds, else 1.
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/transparency-dev/merkle/proof"
	"github.com/transparency-dev/merkle/rfc6962"
	"github.com/transparency-dev/tessera/api"
	"github.com/transparency-dev/tessera/client"
	"golang.org/x/mod/sumdb/note"
)

func main() {
	log.SetFlags(0)
	log.SetPrefix("tesseraclient: ")
	address := flag.String("url", "", "the log")
	vkey := flag.String("vkey", "", "its key, or @FILE")
	previous := flag.String("previous", "", "a checkpoint kept before")
	flag.Parse()
	if err := follow(*address, *vkey, *previous); err != nil {
		log.Fatal(err)
	}
}

func follow(address, vkey, previous string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	if name, isFile := strings.CutPrefix(vkey, "@"); isFile {
		text, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		vkey = strings.TrimSpace(string(text))
	}
	verifier, err := note.NewVerifier(vkey)
	if err != nil {
		return err
	}
	root, err := url.Parse(address)
	if err != nil {
		return err
	}
	fetcher, err := client.NewHTTPFetcher(root, nil)
	if err != nil {
		return err
	}
	var held []byte
	if previous != "" {
		if held, err = os.ReadFile(previous); err != nil {
			return err
		}
	}
	consensus := client.UnilateralConsensus(fetcher.ReadCheckpoint)
	tracker, err := client.NewLogStateTracker(ctx, fetcher.ReadTile, held, verifier, verifier.Name(), consensus)
	if err != nil {
		return fmt.Errorf("first checkpoint: %w", err)
	}
	before := tracker.Latest().Size
	if _, _, _, err := tracker.Update(ctx); err != nil {
		return fmt.Errorf("newer checkpoint: %w", err)
	}
	latest := tracker.Latest()

	// All leaves, streamed; each of some is proved below.
	hashes := make([][]byte, 0, latest.Size)
	size := func(context.Context) (uint64, error) { return latest.Size, nil }
	unbundle := func(raw []byte) ([][]byte, error) {
		bundle := api.EntryBundle{}
		if err := bundle.UnmarshalText(raw); err != nil {
			return nil, err
		}
		return bundle.Entries, nil
	}
	if latest.Size > 0 {
		bundles := client.EntryBundles(ctx, 2, size, fetcher.ReadEntryBundle, 0, latest.Size)
		for entry, err := range client.Entries(bundles, unbundle) {
			if err != nil {
				return fmt.Errorf("entry %d: %w", len(hashes), err)
			}
			hashes = append(hashes, rfc6962.DefaultHasher.HashLeaf(entry.Entry))
		}
	}
	if uint64(len(hashes)) != latest.Size {
		return fmt.Errorf("%d entries came of %d", len(hashes), latest.Size)
	}
	builder, err := client.NewProofBuilder(ctx, latest.Size, fetcher.ReadTile)
	if err != nil {
		return err
	}
	proved := 0
	for index := uint64(0); index < latest.Size; index += 1 + latest.Size/50 {
		path, err := builder.InclusionProof(ctx, index)
		if err != nil {
			return fmt.Errorf("proof of entry %d: %w", index, err)
		}
		if err := proof.VerifyInclusion(rfc6962.DefaultHasher, index, latest.Size, hashes[index], path, latest.Hash); err != nil {
			return fmt.Errorf("entry %d: %w", index, err)
		}
		proved++
	}
	fmt.Printf("{\"previous\":%d,\"size\":%d,\"proved\":%d}\n", before, latest.Size, proved)
	return nil
}
