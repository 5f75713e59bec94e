export const helpText = `banyan <noun> <verb> [options]

  shards list                  each shard with its slots, users, size and load
  shards add                   makes databases, migrates them, binds them, and registers them as shards without slots
      --count 2                  how many (1 unless said)
      --location weur            deployed: near wnam, enam, weur, eeur, apac or oc; --jurisdiction eu or fedramp
      --remote                   deployed, also where --url is local: the application of --config FILE
      --shards 4                 of npm run dev -- --shards 4; --persist-to DIR, --config FILE as there
  shards drain ID              moves all slots of a shard to the others; it takes none any more
      --off                      it takes slots again; moves of the drain that wait are aborted
      --no-wait, --until done    as for moves start
  shards remove ID             forgets a shard that has no slots
      --config FILE              the one that binds it, where that isn't wrangler.toml
  shards read-only ID          its users can read and can't write
      --off                      they can write again

  rebalance                    the fewest slots that make the shards even, several moves at once
      --dry-run                  prints the plan, and does nothing
      --by bytes                 evens the databases' sizes out instead of their slots, when no move is open
      --tolerance 0.1            how far from the mean a shard may stay (slots: 0, bytes: 0.1)
      --keyspace claims          of one keyspace only
      --no-wait, --until done    as for moves start

  migrations status            what each shard's database has, and lacks
      --remote, --shards 4, --persist-to DIR, --config FILE: as for migrations apply
  migrations apply             applies what is missing to every shard; nothing more is begun when one fails
      --canary SHARD_003         goes first, alone (the first one that lacks some, unless said)
      --at-once 6                how many of the others at once
      --remote                   the deployed databases instead of the local ones
      --shards 4                 of npm run dev -- --shards 4; --persist-to DIR, --config FILE as there

  moves list                   moves of slots between shards, newest first
      --cursor CURSOR            from where a list before ended
  moves show ID                one move
      --follow                   watches it until it is settling, or over
      --until done               with --follow: until it is done
  moves start SLOTS TARGET     moves slots to a shard, one move for each shard that has some of them, and watches
      --keyspace claims          the slots of claims instead of the users'
      --no-wait                  plans only; the moves go on by themselves
      --until done               watches until the rows are gone from where they were
  moves abort ID               takes a move back that hasn't changed the map yet
  moves resolve ID             shows what both shards hold of a move that is stuck, and the choices that are safe now
      --choice NAME              carries out a choice: retry, undo, activate or purge; the move then continues by itself
  moves reverse ID             takes a settling move back, with what was written since
  moves complete ID            ends the settling as soon as no router can use the map before it

  load                         signs users up, sends requests at a rate, and reads back what was acknowledged, as soon as
                               no move's source may answer (41 s after the last write, unless a token tells of no moves)
      --rate 50                  requests a second, begun at their times whether others are answered or not
      --duration 30              seconds; or
      --until-stopped            until Ctrl-C
      --users 20                 who read and write
      --reads 0.9                the share of requests that read
      --seed N                   draws the same requests again

  deploy                       creates missing Cloudflare resources, applies migrations, uploads the Worker, runs a health check
                               and the probe; idempotent (also: npm run deploy)
      --dry-run                  says what it would do
      --config FILE              another wrangler.toml, for another account or a second application
      --token TOKEN              the operators' token to set when none is set; else one is drawn
  probe                        sends each database batches that it must refuse, and checks that the deployed version understands
                               the refusals; writes nothing. deploy ends with it
  rollback                     makes the version before live again; run again, it stays there
      --to VERSION               or this one
      --without-map              where the live version is too broken to show the map: also to one that binds fewer shards
      --dry-run                  says which
      --config FILE
  restore SHARD --to TIME      takes one shard back to a moment of the last 30 days (2026-11-24T10:30:00Z): what was
                               written there since is gone, and its users log in again. Run it again to resume an interrupted restore
      --abandon                  instead of --to: gives up a restore that was cut off; the shard is as it was before, and serves
      --compare                  instead of --to: compares its claims and accounts with all shards, as a restore does at its end
      --config FILE

  import FILE                  users from another application: a .sql dump (wrangler d1 export, sqlite3 .dump), or a .csv or .tsv
                               with a header; also compressed with gzip, and in UTF-16.
                               Stopped or killed, it goes on when it is run again; what is there already stays as it is
      --table users              the dump's table
      --map FIELD=COLUMN,…       fields: externalId email handle displayName bio createdAt emailVerifiedAt passwordHash;
                                 those not named are guessed from the columns' names, and FIELD= leaves one out
      --source NAME              which application it is, for ever part of the ids (default: the file's name)
      --dry-run                  reads and checks everything, and sends nothing
      --delimiter CHARACTER      between the fields, or tab (default: the one that the first line has)
      --escape backslash|none    whether a backslash escapes, as in files of MySQL and COPY (default: none)
      --null TEXT                an unquoted field that is NULL, besides \\N
      --fill                     fields that are missing at the end of a record are empty, as Excel leaves them out
      --encoding NAME            utf-8, utf-16le, utf-16be or windows-1252 (default: UTF-8, and UTF-16 where the file shows it)
      --verify sample|none       asks the server of 1,000 users, or none, when it is done (default: of all)


Options
  --url URL       the application (default: $BANYAN_URL, or http://localhost:8787)
  --token TOKEN   an operator's token (default: $BANYAN_TOKEN; on localhost, the one in .dev.vars)
  --json          the API's answer as JSON; progress goes to the error output
  -h, --help      this text

SLOTS are hex digits: 00ff, 0000-0fff, or several with commas between. TARGET is a shard's id.
The exit code is 1 when a move that was watched has failed or was aborted; when a load lost or doubled a write, served a stale
read of the writer's own data or an overdue one, or had requests refused; when an import's users are not there as sent; and when
a probe has failed.

deploy, rollback and restore need CLOUDFLARE_API_TOKEN and CLOUDFLARE_ACCOUNT_ID (docs/operating.md). Their --url is where the
application answers, where that is neither PUBLIC_ORIGIN nor its address on workers.dev.

Examples
  npm run banyan -- shards list --url https://banyan.example.com
  npm run banyan -- moves start 0000-0fff shard-001
  npm run banyan -- import users.sql --map handle=username,displayName=name`
