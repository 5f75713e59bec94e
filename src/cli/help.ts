export const helpText = `banyan <noun> <verb> [options]

  shards list     each shard with its slots, users, size and load

Options
  --url URL       the application (default: $BANYAN_URL, or http://localhost:8787)
  --token TOKEN   an operator's token (default: $BANYAN_TOKEN; on localhost, the one in .dev.vars)
  --json          the API's answer as JSON
  -h, --help      this text

Example
  npm run banyan -- shards list --url https://banyan.example.com`
