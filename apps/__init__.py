"""The API's rooms. Each app may import the ones below it: courses → operations → outbox → accounts → core."""
