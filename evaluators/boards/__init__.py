"""Boards: devices that run TVM's RPC server and are found through its tracker."""
