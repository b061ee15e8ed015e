"""What every node needs of ROS: conversion, quality of service, parameters, life cycle, ends."""
