"""Rules of the action channel and of the life of a domain."""

from mutation import Mutation

IPC_MUTATIONS = [
    Mutation(
        "pages that nobody asked for are given back",
        "ipc/src/dispatcher.cpp",
        "    domain_.segments().give_back_strays(domain_.members().who());\n",
        "",
        "the audit names a page that is missing*",
    ),
    Mutation(
        "who polls is called again when a callback has thrown",
        "ipc/src/dispatcher.cpp",
        "        actions_.post().wake_reader();  // the bell may not be armed, nor the timer set\n",
        "",
        "*goes on when a callback has thrown",
        suite="process",
    ),
    Mutation(
        "a handler that waits does not keep its member from leaving",
        "ipc/src/dispatcher.cpp",
        "    actions_.end_requests();  // a handler may wait for an answer\n",
        "",
        "a member leaves although*",
        suite="process",
    ),
    Mutation(
        "a primary that takes over serves at DPDK's place",
        "ipc/src/telemetry.cpp",
        "found == listener_at(primary_socket);",
        "false;",
        "whoever asks by DPDK's protocol*",
        suite="process",
    ),
    Mutation(
        "a primary that has handed over leaves the socket at DPDK's place alone",
        "ipc/src/telemetry.cpp",
        " || inode_of(path_) != inode_",
        "",
        "whoever asks by DPDK's protocol*",
        suite="process",
    ),
    Mutation(
        "who has said that it sleeps looks for messages again",
        "ipc/src/dispatcher.cpp",
        "            hear(actions_.post().is_empty() ? milliseconds_left(until) : 0);\n",
        "            hear(milliseconds_left(until));\n",
        "a message wakes its receiver*",
        suite="process",
    ),
    Mutation(
        "who looks for an answer leaves the processor to others",
        "ipc/src/asking.cpp",
        "            std::this_thread::yield();",
        "            cpu_relax();",
        "who asks leaves the processor*",
        suite="process",
    ),
    Mutation(
        "whoever is flooded with messages does other things as well",
        "ipc/src/actions.cpp",
        "        if (served == served_at_once) {",
        "        if (served == 0) {",
        "a member whose inbox is never empty*",
        suite="process",
    ),
]
