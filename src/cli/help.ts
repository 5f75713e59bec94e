export const helpText = `banyan <noun> <verb> [options]

  shards list                  each shard with its slots, users, size and load

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
  moves reverse ID             takes a settling move back, with what was written since
  moves complete ID            ends the settling as soon as no router can use the map before it

  import FILE                  users from another application: a .sql dump (wrangler d1 export, sqlite3 .dump) or a .csv with a header.
                               Stopped or killed, it goes on when it is run again; what is there already stays as it is
      --table users              the dump's table
      --map FIELD=COLUMN,…       fields: externalId email handle displayName bio createdAt emailVerifiedAt passwordHash;
                                 those not named are guessed from the columns' names, and FIELD= leaves one out
      --source NAME              which application it is, for ever part of the ids (default: the file's name)
      --dry-run                  reads and checks everything, and sends nothing
      --verify sample|none       asks the server of 1,000 users, or none, when it is done (default: of all)

Options
  --url URL       the application (default: $BANYAN_URL, or http://localhost:8787)
  --token TOKEN   an operator's token (default: $BANYAN_TOKEN; on localhost, the one in .dev.vars)
  --json          the API's answer as JSON; progress goes to the error output
  -h, --help      this text

SLOTS are hex digits: 00ff, 0000-0fff, or several with commas between. TARGET is a shard's id.
The exit code is 1 when a move that was watched has failed or was aborted, and when an import's users are not there as sent.

Examples
  npm run banyan -- shards list --url https://banyan.example.com
  npm run banyan -- moves start 0000-0fff shard-001
  npm run banyan -- import users.sql --map handle=username,displayName=name`
